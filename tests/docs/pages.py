"""The shell commands of the pages: what stands in their code blocks, joined over line ends and cut at pipes."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")),
)
SHELLS = ("bash", "sh", "shell", "console")
OUTPUTS = ("", "text")
PROGRAMS = (
    "mmcl-cache", "mmcl-train", "python", "pip", "make", "torchrun", "accelerate", "srun", "git", "cp", "hf", "export",
)  # fmt: skip
"""A line of a block of another kind of text is a command where it begins with one of these."""
REDIRECTIONS = (">", ">>", "2>", "<")

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
_INDENTED = re.compile(r"(?:(?<=\n\n)|\A)(?:    \S.*\n(?:(?: {4}.*)?\n(?=    ))*)+", re.MULTILINE)
_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")


@dataclass(frozen=True)
class Command:
    """One line a user may type.

    Args:
        page: relative to the root of the repository.
        text: as printed, line ends joined.
        parts: words of each program of the pipe, without what sets the environment or leads elsewhere.
    """

    page: str
    text: str
    parts: tuple[tuple[str, ...], ...]

    @property
    def program(self) -> str:
        return self.parts[-1][0]


def read_page(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def find_blocks(text: str) -> list[tuple[str, str]]:
    """(language, content) of every code block, fenced or indented by four spaces, in order."""
    found = [(match.start(), match[1], match[2]) for match in _BLOCK.finditer(text)]
    bare = _BLOCK.sub(lambda match: "\n" * match[0].count("\n"), text)
    indented = [
        (text.find(match[0]), "", re.sub(r"^    ", "", match[0], flags=re.MULTILINE))
        for match in _INDENTED.finditer(bare)
    ]
    return [(language, content) for _, language, content in sorted(found + indented)]


def find_commands(page: str, text: str | None = None) -> list[Command]:
    """Every command of a page's code blocks, in order.

    In a block named as a shell's every line is one, save comments; elsewhere those that begin with a known program
    or a prompt.
    """
    commands = []
    for language, content in find_blocks(read_page(page) if text is None else text):
        if language not in (*SHELLS, *OUTPUTS):
            continue
        for line in re.sub(r"\\\n\s*", " ", content).splitlines():
            prompt = line.startswith("$ ")
            words = _split(line.removeprefix("$ "))
            known = bool(words) and words[-1][0] in PROGRAMS
            if words and (known or prompt or language in SHELLS):
                commands.append(Command(page, line.removeprefix("$ ").strip(), words))
    return commands


def find_inline_commands(page: str) -> list[str]:
    """What stands between single backticks and begins with one of the two commands."""
    prose = _BLOCK.sub("", read_page(page))
    return [span for span in re.findall(r"`([^`\n]+)`", prose) if re.match(r"mmcl-(cache|train) ", span)]


def _split(line: str) -> tuple[tuple[str, ...], ...]:
    """Words by program; nothing for an empty line, a comment or text that is no shell's.

    A line that only sets variables comes as the words of `export`.
    """
    lexer = shlex.shlex(line, posix=True, punctuation_chars="|")
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:
        return ()
    if words and all(_ASSIGNMENT.fullmatch(word) for word in words):
        return (("export", *words),)
    parts: list[list[str]] = [[]]
    for place, word in enumerate(words):
        if word in REDIRECTIONS or (place and words[place - 1] in REDIRECTIONS):
            continue
        if word == "|":
            parts.append([])
        elif parts[-1] or not _ASSIGNMENT.fullmatch(word):
            parts[-1].append(word)
    return tuple(tuple(part) for part in parts) if all(parts) else ()
