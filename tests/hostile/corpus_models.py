"""Models: checkpoints of others, run folders, ONNX files."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
import zipfile
from pathlib import Path

import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.data.clips import ClipSettings
from mmcl_train.engine.model_file import ModelAbout
from tests.hostile.case import Case, Make, write
from tests.hostile.corpus_pickle import Runs

ABOUT = ModelAbout(
    "stgcn",
    0.25,
    LAYOUTS["ntu25"],
    2,
    3,
    ("a", "b"),
    "joint",
    ClipSettings(),
    "made",
    "xsub",
    "default",
    {},
    {},
).to_json()


def saved(value: object) -> bytes:
    stream = io.BytesIO()
    torch.save(value, stream)
    return stream.getvalue()


def deflated(data: bytes) -> bytes:
    """The same archive, compressed."""
    stream = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info.filename, old.read(info))
    return stream.getvalue()


def runs(old_form: bool) -> Make:
    def make(folder: Path, canary: Path) -> Path:
        value = {"state_dict": Runs(f"echo done >> {canary}")}
        path = folder / "a.pth"
        torch.save(value, path, _use_new_zipfile_serialization=not old_form)
        return path

    return make


def tar_with_link(folder: Path, canary: Path) -> Path:
    """torch's oldest form is a tar, which was unpacked."""
    path = folder / "a.pth"
    with tarfile.open(path, "w") as tar:
        link = tarfile.TarInfo("storages")
        link.type, link.linkname = tarfile.SYMTYPE, str(canary)
        tar.addfile(link)
    return path


def model(text: bytes | None = None, **changes: object) -> Make:
    """A run folder with this model.json."""

    def make(folder: Path, canary: Path) -> Path:
        (folder / "model.json").write_bytes(
            json.dumps({**ABOUT, **changes}).encode() if text is None else text
        )
        (folder / "model.safetensors").write_bytes(b"\xff" * 8 + b"{}")
        return folder

    return make


def _chain(count: int) -> dict[str, object]:
    return {
        "name": "x",
        "joints": [str(n) for n in range(count)],
        "parents": [0, *range(count - 1)],
        "centre": 0,
    }


_CHECKPOINTS: dict[str, tuple[str, bytes]] = {
    "compressed bomb": ("compressed, which torch never does", deflated(saved({"a": torch.zeros(16 << 20)}))),
    "one number shown a billion times": (
        "no tensor that weights",
        saved({"a": torch.zeros(1).expand(1 << 28)}),
    ),
    "sparse tensor": ("no tensor that weights", saved({"a": torch.eye(3).to_sparse()})),
    "pickle of something": ("not a torch checkpoint", pickle.dumps({"a": 1})),
    "no tensors": ("no state dict", saved({"a": 1})),
    "cut": ("not a torch checkpoint", saved({"a": torch.zeros(99)})[:-200]),
    "text": ("not a torch checkpoint", b"hello"),
    "empty": ("not a torch checkpoint", b""),
}
_MODELS: dict[str, tuple[str, Make]] = {
    "nested without end": ("nested too deep", model(b"[" * 100_000)),
    "a list": ("a JSON object is expected", model(b"[]")),
    "number of 5000 digits": ("not readable", model(b'{"a": ' + b"9" * 5000 + b"}")),
    "a billion bodies": ("not a model description", model(num_bodies=10**9)),
    "bodies without end": ("not a model description", model(num_bodies=1e999)),
    "clip of a billion frames": ("not a model description", model(clip={**ABOUT["clip"], "length": 10**9})),
    "width of a million": ("not a model description", model(width=1e6)),
    "layout of 5000 joints": ("not a model description", model(layout=_chain(5000))),
    "centre that is none": ("not a model description", model(skeleton={"format": "poses", "centre": 99})),
    "weights that are none": ("weights not readable", model()),
    "backbone of another": ("evil", model(backbone="evil")),
}


def _onnx(folder: Path, canary: Path) -> Path:
    """A tensor whose numbers lie in another file, in ONNX's own encoding."""

    def field(number: int, content: bytes) -> bytes:
        return bytes([number << 3 | 2, len(content)]) + content

    entry = field(1, b"location") + field(2, b"../canary/secret.h5")
    tensor = b"\x08\x04\x10\x01" + field(8, b"w") + field(13, entry) + b"\x70\x01"
    graph = field(2, b"g") + field(5, tensor)
    path = folder / "a.onnx"
    path.write_bytes(b"\x08\x08" + field(7, graph) + field(8, b"\x10\x11"))
    return path


CASES = [
    *(
        Case("checkpoint", name, "checkpoint", message, write("a.pth", data))
        for name, (message, data) in _CHECKPOINTS.items()
    ),
    Case("checkpoint", "command", "checkpoint", "would run code", runs(False)),
    Case("checkpoint", "command in the old form", "checkpoint", "would run code", runs(True)),
    Case("checkpoint", "tar with a link", "checkpoint", "not a torch checkpoint", tar_with_link),
    *(
        Case("model", name, "model", message, make, "model." if "evil" not in message else "evil")
        for name, (message, make) in _MODELS.items()
    ),
    Case("onnx", "weights in another file", "onnx", "never followed", _onnx),
    Case("onnx", "text", "onnx", "cannot read it", write("a.onnx", b"hello")),
    Case("onnx", "empty", "onnx", "a.onnx", write("a.onnx", b"")),
]
