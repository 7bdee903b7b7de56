"""Names that the shell completes for `mmcl-train`; nothing is imported for them."""

from __future__ import annotations

from pathlib import Path

from mmcl_cache.terminal.cli_options import Completion, completing
from mmcl_cache.terminal.names import registry_names, setting_names

HERE = Path(__file__).parent
SCORES = ("test-last", "test-best-val", "val-last", "val-best-val", "test-best-test")

COMPLETIONS: dict[str, Completion] = {
    "--backbone": completing(lambda: registry_names(HERE / "backbones" / "__init__.py", "BACKBONES")),
    "--stream": completing(lambda: registry_names(HERE / "data" / "streams.py", "STREAMS")),
    "--preset": completing(lambda: registry_names(HERE / "presets.py", "PRESETS")),
    "--set": completing(lambda: [f"{name}=" for name in setting_names(HERE / "config.py", "RunConfig")]),
    "--protocol": completing(("xsub", "xview", "xset")),
    "--device": completing(("auto", "cpu", "cuda", "cuda:0")),
    "--split": completing(("train", "val", "test")),
    "--which": completing(SCORES),
    "--cnn": completing(("small", "inception_v3", "none")),
    "--map": completing(("utd-mhad", "sysu")),
}
