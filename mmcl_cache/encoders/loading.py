"""Finding a model's files, what identifies them, and loading them with errors a person can act on."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import huggingface_hub
import torch
import transformers
from huggingface_hub.errors import (
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
)
from safetensors import SafetensorError

from mmcl_cache.errors import ModelError

T = TypeVar("T")

ASSETS = Path(__file__).parents[1] / "assets"
EMBEDDED = "embedded"

_HUB_ID = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
_SAFE_WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
_PICKLED_WEIGHTS = ("pytorch_model*.bin", "pytorch_model*.bin.index.json")
# Everything beside the weights that changes what a model answers.
_SETTINGS_FILES = ("*.json", "*.txt", "*.model", "*.jinja", "*.tiktoken")
_IGNORED_FILES = frozenset(
    {"README.txt", "requirements.txt", "trainer_state.json", "training_args.json", "LICENSE.txt"}
)
# Packages that some models' processors and tokenizers ask for.
_OPTIONAL = re.compile(
    r"(torchvision|sentencepiece|protobuf|timm|tiktoken|num2words|torchcodec)", re.IGNORECASE
)
DTYPES: dict[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


def find_model(model: str, asset: str) -> Path:
    """The folder of a model: embedded, local, or a snapshot of the hub (its local copy when offline).

    Args:
        model: "embedded", a folder, or a hub id ("Salesforce/blip-vqa-base").
        asset: the folder under mmcl_cache/assets that "embedded" means.

    Raises:
        ModelError: no such folder, a folder without config.json, or the hub does not give it.
    """
    folder = ASSETS / asset if model == EMBEDDED else Path(model).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ModelError(f"{folder}: has no config.json: not a folder of a transformers model")
        return folder
    if model == EMBEDDED or folder.exists() or not _HUB_ID.fullmatch(model) or model.startswith((".", "-")):
        raise ModelError(f"{folder}: no such model folder, and not a hub id (name or owner/name)")
    return _fetch_snapshot(model)


def hash_model(folder: Path) -> dict[str, str]:
    """sha256 over what the files of a model hold, so that a copy of them elsewhere is the same model.

    Returns:
        {"weights": …, "files": …}: hex digests over (name, content) of the weights, and of the configuration,
        tokenizer and processor files.

    Raises:
        ModelError: no weights in the folder.
    """
    weights = _list_files(folder, _SAFE_WEIGHTS) or _list_files(folder, _PICKLED_WEIGHTS)
    if not weights:
        raise ModelError(f"{folder}: has no weights (*.safetensors, or pytorch_model.bin)")
    indices = {p for p in folder.glob("*.index.json")}
    others = [
        p for p in _list_files(folder, _SETTINGS_FILES) if p not in indices and p.name not in _IGNORED_FILES
    ]
    return {"weights": _hash_files(weights), "files": _hash_files(others)}


def load_config(folder: Path) -> Any:
    """The transformers configuration of a folder.

    Raises:
        ModelError: unreadable, of a kind this transformers does not know, or one that would run code of its own.
    """
    return _guard(folder, lambda: transformers.AutoConfig.from_pretrained(folder, trust_remote_code=False))


def load_image_processor(folder: Path) -> Any:
    """The image processor, through Pillow: torchvision's gives other pixels, and it may or may not be installed."""
    return _guard(
        folder,
        lambda: transformers.AutoImageProcessor.from_pretrained(
            folder, backend="pil", trust_remote_code=False
        ),
    )


def load_processor(folder: Path) -> Any:
    """Tokenizer and image processor of a chat model, the latter through Pillow where it has that way."""
    processor = _guard(
        folder, lambda: transformers.AutoProcessor.from_pretrained(folder, trust_remote_code=False)
    )
    if not hasattr(processor, "tokenizer") or not hasattr(processor, "image_processor"):
        raise ModelError(f"{folder}: has no processor for images and text ({type(processor).__name__})")
    processor.image_processor = load_image_processor(folder)
    return processor


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer of a folder."""
    return _guard(folder, lambda: transformers.AutoTokenizer.from_pretrained(folder, trust_remote_code=False))


def load_weights(model_class: Any, folder: Path, dtype: torch.dtype, device: torch.device) -> Any:
    """A model ready to run, every parameter from the folder.

    Raises:
        ModelError: unreadable weights, or parameters that the folder does not hold (another head was trained),
            or not enough memory on the device.
    """

    transformers.utils.logging.disable_progress_bar()  # the build shows its own

    def load() -> tuple[Any, dict[str, Any]]:
        return model_class.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, local_files_only=True, output_loading_info=True
        )

    model, report = _guard(folder, load)
    missing = sorted(k for k in report["missing_keys"] if not k.endswith("position_ids"))
    if missing or report.get("mismatched_keys"):
        what = ", ".join((missing or [str(k) for k in report["mismatched_keys"]])[:3])
        raise ModelError(
            f"{folder}: the weights do not fit {type(model).__name__}: {len(missing)} parameters are missing ({what} …)"
        )
    try:
        return model.eval().requires_grad_(False).to(device)
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{folder}: does not fit into the memory of {device}") from error


def choose_device(device: str) -> torch.device:
    """``auto``: the first GPU, else the processor.

    Raises:
        ModelError: not a device, or one that is not there.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"--device {device}: not a device; use auto, cpu, cuda or cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(
            f"--device {device}: this machine has {torch.cuda.device_count()} GPUs that torch can use"
        )
    return chosen


def choose_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """``auto``: float32 on the processor, bfloat16 on GPUs that have it, else float16.

    Raises:
        ModelError: unknown name.
    """
    if dtype == "auto":
        if device.type != "cuda":
            return torch.float32
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
    if dtype not in DTYPES:
        raise ModelError(f"unknown dtype {dtype!r}; known: auto, {', '.join(DTYPES)}")
    return DTYPES[dtype]


def describe_libraries() -> str:
    """The version of transformers that settings name: major and minor; patches do not change answers."""
    return ".".join(transformers.__version__.split(".")[:2])


def _fetch_snapshot(model: str) -> Path:
    try:
        listed = huggingface_hub.snapshot_download(model, allow_patterns=[*_SETTINGS_FILES, *_SAFE_WEIGHTS])
        if not _list_files(Path(listed), _SAFE_WEIGHTS):
            listed = huggingface_hub.snapshot_download(
                model, allow_patterns=[*_SETTINGS_FILES, *_PICKLED_WEIGHTS]
            )
    except LocalEntryNotFoundError as error:
        raise ModelError(
            f"{model}: no such folder here, not in the local hub cache, and the hub cannot be reached; "
            "give a local folder, or run once online"
        ) from error
    except OfflineModeIsEnabled as error:
        raise ModelError(
            f"{model}: not in the local hub cache, and HF_HUB_OFFLINE forbids asking the hub"
        ) from error
    except HFValidationError as error:
        raise ModelError(f"{model}: no such folder, and not a hub id (name or owner/name)") from error
    except HfHubHTTPError as error:
        status = getattr(getattr(error, "response", None), "status_code", "no answer")
        raise ModelError(
            f"{model}: the hub refuses it (status {status}): unknown name, or a gated model"
        ) from error
    except OSError as error:
        raise ModelError(f"{model}: cannot be fetched from the hub ({_first_line(error)})") from error
    folder = Path(listed)
    if not (folder / "config.json").is_file():
        raise ModelError(f"{model}: the hub has no config.json for it: not a transformers model")
    return folder


def _guard(folder: Path, load: Callable[[], T]) -> T:
    """Turn what transformers raises into one line."""
    try:
        return load()
    except ModelError:
        raise
    except torch.OutOfMemoryError as error:
        raise ModelError(f"{folder}: does not fit into memory") from error
    except (
        ImportError,
        OSError,
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RuntimeError,
        SafetensorError,
    ) as error:
        needed = _OPTIONAL.search(str(error))
        if needed and (isinstance(error, ImportError) or "require" in str(error)):
            name = needed.group(1).lower()
            raise ModelError(
                f"{folder}: this model needs {name}, which is not installed: pip install {name}"
            ) from error
        if "trust_remote_code" in str(error):
            raise ModelError(
                f"{folder}: would run Python code of its own, which is never done here"
            ) from error
        raise ModelError(f"{folder}: cannot be loaded ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def _list_files(folder: Path, patterns: tuple[str, ...]) -> list[Path]:
    return sorted(
        {p for pattern in patterns for p in folder.glob(pattern) if p.is_file()}, key=lambda p: p.name
    )


def _hash_files(files: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()
