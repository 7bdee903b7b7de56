"""Reads hostile files, each in a process of its own, and tells what happened: `python -m tests.hostile.reading LIST`.

Watched are the message, the memory and time taken, every file that Python opens, programs and connections that are
started, and, by inotify, whether anything at all touched the canary: libraries in C open files without telling Python.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmcl_cache.datasets.dataset import ScanOptions
from mmcl_cache.datasets.folder import choose_layout, scan_folder
from mmcl_cache.datasets.folder_table import read_table
from mmcl_cache.datasets.import_ctrgcn import read_ctrgcn_npz
from mmcl_cache.datasets.import_published import read_published_strip, read_published_text
from mmcl_cache.datasets.import_pyskl import read_pyskl_pkl
from mmcl_cache.datasets.ntu import scan_ntu60
from mmcl_cache.datasets.utd_mhad import read_depth_mat
from mmcl_cache.errors import UserError
from mmcl_cache.skeletons.matlab import read_kinect_mat
from mmcl_cache.skeletons.ntu import read_ntu_skeleton
from mmcl_cache.skeletons.nw_ucla import read_nw_ucla
from mmcl_cache.skeletons.poses import read_poses
from mmcl_cache.store import LAYOUTS, open_cache
from mmcl_cache.video.decode import read_frames
from mmcl_train.deploy.checkpoint_file import read_state
from mmcl_train.deploy.live import read_lines, stream_windows
from mmcl_train.deploy.model_input import ModelInput, read_input
from mmcl_train.deploy.recording import read_recording
from mmcl_train.engine.model_file import read_model
from mmcl_train.scores.files import read_scores

WAIT = 120.0  # s of wall time, on a machine that does other things too
ROOM = 4 << 30  # bytes of addresses more than at the start
STARTED = (
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "subprocess.Popen",
    "socket.connect",
    "os.fork",
    "pty.spawn",
)
MODEL = ModelInput(
    "stgcn", "made", ("a", "b"), LAYOUTS["coco17"], 2, 3, "joint", "crop-resize", 16, 0.95,
    {"format": "poses", "centre": 0, "dimensions": 2},
)  # fmt: skip


def _load_cache(path: Path) -> None:
    cache = open_cache(path)
    for name, variants in cache.fields().items():
        for variant in variants:
            field = cache.field(name, variant)
            field.pending()
            rows = field.load(cache.samples.sample_ids)
            list(rows.reasons)


def _read_pyskl(path: Path) -> None:
    clips = read_pyskl_pkl(path)
    for place in range(len(clips.sample_ids)):
        clips.read(place)


def _read_onnx(path: Path) -> None:
    # An extra; imported before any file is read, because its import looks around.
    importlib.import_module("mmcl_train.deploy.onnx_model").OnnxModel(path, 1)


def _read_stdin(path: Path) -> None:
    with path.open(encoding="utf-8") as stream:
        list(stream_windows(read_lines(stream), 17, 0, 1))


def _read_model(path: Path) -> None:
    read_input(path)
    read_model(path)


READERS: dict[str, Callable[[Path], Any]] = {
    "skeleton": read_ntu_skeleton,
    "nw-ucla": read_nw_ucla,
    "mat": lambda path: read_kinect_mat(path, "d_skel"),
    "depth-mat": read_depth_mat,
    "poses": lambda path: read_poses(path, num_joints=17, dimensions=3),
    "recording": lambda path: read_recording(path, MODEL),
    "stdin": _read_stdin,
    "ctrgcn": read_ctrgcn_npz,
    "pyskl": _read_pyskl,
    "text": read_published_text,
    "strip": read_published_strip,
    "table": lambda path: read_table(path, path.parent),
    "layout": lambda path: choose_layout(str(path), path.parent, []),
    "folder": lambda path: scan_folder(path, ScanOptions()),
    "ntu": lambda path: scan_ntu60(path, ScanOptions()),
    "video": lambda path: read_frames(path, lambda n: np.arange(5) * n // 5),
    "cache": _load_cache,
    "scores": read_scores,
    "checkpoint": read_state,
    "onnx": _read_onnx,
    "model": _read_model,
}


class Watch:
    """Whether anybody opened, read or changed a file since it was last asked."""

    def __init__(self, path: Path) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        self._handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        every = 0x1 | 0x2 | 0x20 | 0x400  # access, modify, open, delete
        if self._handle < 0 or libc.inotify_add_watch(self._handle, os.fsencode(path), every) < 0:
            raise OSError(ctypes.get_errno(), "no inotify here")

    def was_touched(self) -> bool:
        try:
            return bool(os.read(self._handle, 1 << 16))
        except BlockingIOError:
            return False


def read_in_child(reader: str, path: Path, allowed: list[str], watch: Watch) -> dict[str, Any]:
    """What came of reading one file."""
    watch.was_touched()
    back, forth = os.pipe()
    child = os.fork()
    if not child:
        os.close(back)
        with os.fdopen(forth, "w") as out:
            json.dump(_read_here(reader, path, allowed), out)
        os._exit(0)
    os.close(forth)
    with os.fdopen(back) as answer:
        is_done = bool(select.select([answer], [], [], WAIT)[0])
        if not is_done:
            os.kill(child, signal.SIGKILL)
        text = answer.read() if is_done else ""
    _, status = os.waitpid(child, 0)
    if not text:
        what = "never came back" if not is_done else f"died of signal {os.WTERMSIG(status)}"
        return {"outcome": what, "touched": watch.was_touched()}
    return {**json.loads(text), "touched": watch.was_touched()}


def _read_here(reader: str, path: Path, allowed: list[str]) -> dict[str, Any]:
    strange: list[str] = []
    addresses, resident = (
        int(n) * resource.getpagesize() for n in Path("/proc/self/statm").read_text().split()[:2]
    )
    resource.setrlimit(resource.RLIMIT_AS, (addresses + ROOM, addresses + ROOM))

    def listen(event: str, arguments: tuple[Any, ...]) -> None:
        if event in STARTED:
            strange.append(event)
        elif event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
            opened = os.path.abspath(os.fsdecode(arguments[0]))
            if not opened.startswith(tuple(allowed)):
                strange.append(opened)

    sys.addaudithook(listen)
    start = time.process_time()
    try:
        READERS[reader](path)
        found = {"outcome": "read", "message": ""}
    except UserError as error:
        found = {"outcome": "refused", "message": str(error)}
    except BaseException as error:
        found = {"outcome": f"raised {type(error).__name__}", "message": str(error)[:300]}
    found["seconds"] = time.process_time() - start
    found["megabytes"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - resident) / 1e6
    found["strange"] = strange[:5]
    return found


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    root = Path(__file__).resolve().parents[2]
    own = [
        sys.prefix,
        sys.base_prefix,
        str(root / "mmcl_cache"),
        str(root / "mmcl_train"),
        "/proc/",
        "/dev/null",
    ]
    if importlib.util.find_spec("onnxruntime") is not None:
        importlib.import_module("mmcl_train.deploy.onnx_model")
    watch = Watch(Path(task["canary"]))
    Path(task["canary"]).read_bytes()
    if not watch.was_touched():
        raise SystemExit("inotify does not see that the canary was read; nothing could be proven")
    for name, reader, folder, path in task["files"]:
        found = read_in_child(reader, Path(path), [*own, folder, *task["allowed"]], watch)
        print(json.dumps({"name": name, **found}), flush=True)


if __name__ == "__main__":
    main()
