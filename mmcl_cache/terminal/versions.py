"""Versions of what a result may depend on, told without importing any of it."""

from __future__ import annotations

import importlib.metadata
import platform
import re
from pathlib import Path

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "numpy",
    "h5py",
    "av",
    "decord",
    "onnxruntime",
    "onnxruntime-gpu",
    "timm",
    "ray",
)
# package → where its wheel keeps a library, the library's name, and what in the file tells its version.
LIBRARIES = {
    "h5py": ("h5py.libs", "libhdf5-*", "HDF5", rb"HDF5 Version: +([\d.]+)"),
    "av": ("av.libs", "libavutil-*", "FFmpeg", rb"FFmpeg version ([\dnN][\w.-]+)"),
}
GPUS = Path("/proc/driver/nvidia/gpus")


def own_version() -> str:
    """Of the installed distribution that both commands come from."""
    try:
        return importlib.metadata.version("mmcl")
    except importlib.metadata.PackageNotFoundError:
        return "unknown: not installed"


def describe_versions() -> list[str]:
    """A line each: python, the packages that are there, the GPUs that NVIDIA's driver knows."""
    lines = [f"python {platform.python_version()} ({platform.system()} {platform.machine()})"]
    for name in PACKAGES:
        try:
            package = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        about = f" ({more})" if (more := _about(name, package)) else ""
        lines.append(f"{name} {package.version}{about}")
    gpus = _gpu_names()
    return [*lines, *(f"GPU {name}" for name in gpus)] if gpus else [*lines, "no NVIDIA GPU"]


def _about(name: str, package: importlib.metadata.Distribution) -> str:
    """The build of torch; the libraries that the wheels of h5py and av bring along."""
    if name == "torch":
        cuda = _read_assigned(Path(str(package.locate_file("torch/version.py"))), "cuda")
        return f"CUDA {cuda}" if cuda else "cpu"
    if name in LIBRARIES:
        folder, pattern, shown, mark = LIBRARIES[name]
        for file in sorted(Path(str(package.locate_file(folder))).glob(pattern)):
            if found := re.search(mark, file.read_bytes()):
                return f"{shown} {found[1].decode()}"
    return ""


def _read_assigned(file: Path, name: str) -> str:
    """A string that a module assigns to `name`; "" where it is None or not there."""
    try:
        found = re.search(rf"^{name}\b[^=\n]*= '([^']+)'", file.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        return ""
    return found[1] if found else ""


def _gpu_names() -> list[str]:
    try:
        told = [(folder / "information").read_text() for folder in sorted(GPUS.iterdir())]
    except OSError:
        return []
    return [found[1].strip() for text in told if (found := re.search(r"^Model:(.*)$", text, re.MULTILINE))]
