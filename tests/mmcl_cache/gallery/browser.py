"""A headless Chromium for tests that open a page; they are skipped where none is installed."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

CHROMIUM = next((path for name in ("chromium", "chromium-browser") if (path := shutil.which(name))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
    "--virtual-time-budget=3000",
    "--enable-logging=stderr",
    "--dump-dom",
)
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed")


@dataclass(frozen=True)
class Opened:
    """A page after its scripts ran: the document as markup, and what came to the console."""

    dom: str
    console: list[str]


def open_page(
    path: Path, width: int = 1280, anchor: str = "", dark: bool = False, flags: tuple[str, ...] = ()
) -> Opened:
    """Open a file in Chromium. A retry forgives a machine so busy that the browser does not start."""
    assert CHROMIUM is not None
    theme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    for attempt in (1, 2):
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
            command = [
                CHROMIUM,
                *FLAGS,
                *flags,
                *theme,
                f"--window-size={width},1400",
                f"--user-data-dir={profile}",
            ]
            done = subprocess.run(
                [*command, path.resolve().as_uri() + anchor],
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        if (done.returncode == 0 and done.stdout) or attempt == 2:
            break
    assert done.returncode == 0 and done.stdout, done.stderr[-2000:]
    return Opened(done.stdout, re.findall(r".*CONSOLE.*", done.stderr))


def scroll_width(path: Path, width: int) -> int:
    """How wide the contents of a page are, in px, where the window is `width` wide: more means it scrolls sideways.

    A headless window is never as narrow as a phone, so the page is put into a frame.
    """
    frame = path.with_name("frame.html")
    frame.write_text(
        f'<iframe id="f" src="{path.name}" style="width:{width}px;height:900px;border:0"></iframe><script>'
        "onload = () => setTimeout(() => { document.title = 'w' + "
        "document.getElementById('f').contentDocument.documentElement.scrollWidth; }, 500)</script>"
    )
    found = re.search(
        r"<title>w(\d+)</title>", open_page(frame, flags=("--allow-file-access-from-files",)).dom
    )
    assert found is not None
    return int(found[1])
