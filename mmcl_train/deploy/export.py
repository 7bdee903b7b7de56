"""A finished run as a folder of safetensors with a card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mmcl_cache.store import UserError
from mmcl_train.engine.checkpoint import write_atomically
from mmcl_train.engine.model_file import read_model

from .card import describe_card


def export_safetensors(run: Path, out: Path) -> Iterator[str]:
    """Write model.safetensors, model.json and README.md (the card) to a folder.

    Raises:
        UserError: no finished run, or the folder holds something else.
    """
    _, about = read_model(run)
    check_new(out, ("model.safetensors", "model.json", "README.md"))
    for name in ("model.json", "model.safetensors"):
        write_atomically(out / name, (run / name).read_bytes())
    write_atomically(out / "README.md", describe_card(run, about, out.name).encode())
    yield from (f"written: {file} ({file.stat().st_size:,} bytes)" for file in sorted(out.iterdir()))


def check_new(folder: Path, ours: tuple[str, ...]) -> None:
    """UserError where a folder holds other files than those about to be written."""
    if folder.is_file():
        raise UserError(f"{folder} is a file; name a folder with --out")
    strangers = [p.name for p in folder.iterdir() if p.name not in ours] if folder.is_dir() else []
    if strangers:
        raise UserError(f"{folder} holds {strangers[0]!r}; name a new folder with --out")
