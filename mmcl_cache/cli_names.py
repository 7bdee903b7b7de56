"""Names that the shell completes for `mmcl-cache`; nothing is imported for them."""

from __future__ import annotations

from pathlib import Path

from mmcl_cache.terminal.cli_options import Completion, completing
from mmcl_cache.terminal.names import registry_names

HERE = Path(__file__).parent


def field_names() -> list[str]:
    return registry_names(HERE / "store" / "cache.py", "FIELDS")


COMPLETIONS: dict[str, Completion] = {
    "--dataset": completing(lambda: registry_names(HERE / "datasets" / "__init__.py", "DATASETS")),
    "--field": completing(field_names),
    "--variant": completing(lambda: [f"{name}=" for name in field_names()]),
    "--layout": completing(lambda: registry_names(HERE / "store" / "layout.py", "LAYOUTS")),
    "--protocol": completing(("xsub", "xview", "xset")),
    "--video": completing(("auto", "color", "depth", "none")),
    "--vqa": completing(("embedded",)),
    "--cnn": completing(("embedded",)),
    "--sampling": completing(("published", "centre")),
    "--crop": completing(("person", "none", "detector:")),
    "--decoder": completing(("auto", "decord", "pyav")),
    "--device": completing(("auto", "cpu", "cuda", "cuda:0")),
    "--dtype": completing(("auto", "float32", "bfloat16", "float16")),
    "--engine": completing(("local", "ray")),
    "--format": completing(("ctrgcn", "pyskl")),
    "--status": completing(("ok", "absent", "failed", "pending")),
}
