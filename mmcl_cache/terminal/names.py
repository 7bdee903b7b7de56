"""Names for shell completion, read from the sources where they stand: importing these would take seconds."""

from __future__ import annotations

import ast
from pathlib import Path


def registry_names(source: Path, variable: str) -> list[str]:
    """Keys of a literal dict, or items of a literal tuple, that a module assigns to `variable`.

    Raises:
        LookupError: no such assignment.
    """
    for node in ast.parse(source.read_text(encoding="utf-8")).body:
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, ast.AnnAssign)
            else []
        )
        if any(isinstance(target, ast.Name) and target.id == variable for target in targets):
            value = node.value  # type: ignore[attr-defined]
            items = value.keys if isinstance(value, ast.Dict) else value.elts
            return [str(item.value) for item in items if isinstance(item, ast.Constant)]
    raise LookupError(f"{source}: no literal {variable}")


def setting_names(source: Path, top: str) -> list[str]:
    """Dotted names of the fields of dataclasses in a module, from the class `top` down."""
    classes = {
        node.name: node
        for node in ast.parse(source.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    }

    def walk(name: str, before: str) -> list[str]:
        found = []
        for node in classes[name].body:
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                kind = ast.unparse(node.annotation)
                here = before + node.target.id
                found += walk(kind, f"{here}.") if kind in classes else [here]
        return found

    return walk(top, "")
