"""The run folder: what is in it, whose it is, and one process at a time.

RUN/config.json  environment.json  fields.json    settings; machine; fingerprints of what the cache gave
    metrics.jsonl  tensorboard/                   one line an epoch
    checkpoints/                                  the last two steps, and best-val.safetensors
    model.safetensors  model.json                 the skeleton model of the last epoch, rebuilt without anything else
    scores/<split>-<weights>.npz                  test-last, val-last, test-best-val, val-best-val
    result.json                                   written last: the run is finished
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from mmcl_cache.store import UserError
from mmcl_cache.store.json_text import parse_json
from mmcl_cache.store.regular import read_regular
from mmcl_train.config import RunConfig
from mmcl_train.settings import differences, load_config, to_json

from .checkpoint import write_atomically

LARGEST_BYTES = 1 << 24
EARLY = (".lock", "fields.json")  # written before config.json, which makes the folder a run's


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def result(self) -> Path:
        return self.path / "result.json"

    def best(self, split: str) -> Path:
        """Model weights of the best epoch on a split."""
        return self.checkpoints / f"best-{split}.safetensors"

    def scores(self, split: str, weights: str) -> Path:
        """Score file of a split under the weights `last`, `best-val` or `best-test`."""
        return self.path / "scores" / f"{split}-{weights}.npz"

    def is_finished(self) -> bool:
        """Was the last file of a run written."""
        return self.result.is_file()


def open_folder(path: Path, config: RunConfig, fields: Mapping[str, str]) -> RunFolder:
    """Claim a folder for a run: a new one, or the one that this very run was started in.

    Raises:
        UserError: another run's folder, or some other folder with files; what differs is named.
    """
    folder = RunFolder(path)
    if folder.config.is_file():
        changed = differences(config, load_config(folder.config))
        if changed:
            raise UserError(
                f"{path} holds another run (there → here): {'; '.join(changed)}; name another folder with --out"
            )
        check_fields(folder, fields)
    elif path.is_dir() and any(
        entry.name not in EARLY and not entry.name.endswith(".part") for entry in path.iterdir()
    ):
        raise UserError(f"{path} is not empty and not a run folder; name another folder with --out")
    else:
        write_atomically(path / "fields.json", _json(dict(fields)))
        write_atomically(folder.config, to_json(config).encode())
    return folder


def check_fields(folder: RunFolder, fields: Mapping[str, str]) -> None:
    """Raise UserError where the cache is no longer the one the run was started from."""
    path = folder.path / "fields.json"
    try:
        stored = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}: not readable ({error}); this run cannot be continued, name another --out"
        ) from None
    names = sorted({*stored, *fields})
    changed = [
        f"{name}: {str(stored.get(name, 'none'))[:12]} → {str(fields.get(name, 'none'))[:12]}"
        for name in names
        if stored.get(name) != fields.get(name)
    ]
    if changed:
        raise UserError(
            f"{folder.path}: the cache has changed since this run was started (there → here): {'; '.join(changed)}; "
            "give the old cache, or another --out"
        )


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write indented JSON atomically."""
    write_atomically(path, _json(value))


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object of a run folder. Raises UserError where it is not there or not one."""
    try:
        value = parse_json(read_regular(path, LARGEST_BYTES))
    except FileNotFoundError:
        raise UserError(f"{path}: not there; is {path.parent} the folder of a finished run?") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not readable ({error})") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: a JSON object is expected")
    return value


class FolderLock:
    """Holds a run folder for one process; the system lets go of it however the process ends.

    Args:
        path: of the run folder.
        held: false for the other processes of the same run, which hold nothing.
    """

    def __init__(self, path: Path, held: bool = True) -> None:
        self._path, self._held = path, held
        self._file: TextIO | None = None

    def __enter__(self) -> FolderLock:
        if not self._held:
            return self
        if self._path.is_file():
            raise UserError(f"{self._path} is a file; name another folder with --out")
        self._path.mkdir(parents=True, exist_ok=True)
        self._file = (self._path / ".lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise UserError(
                f"{self._path}: another process is training in this folder; wait for it, or name another --out"
            ) from None
        return self

    def __exit__(self, *exception: object) -> None:
        if self._file is not None:
            self._file.close()


def _json(value: Mapping[str, Any]) -> bytes:
    return (json.dumps(value, indent=2, sort_keys=True) + "\n").encode()
