"""Which class of the model a class of the target is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmcl_cache.store import Description, UserError

from .joint_map import TO_NTU, Rules, parse_rules


@dataclass(frozen=True)
class TransferMap:
    """classes: target label → label of the model, both 0-based; joints: see `joint_map`."""

    classes: Mapping[int, int]
    joints: Rules


MAPS: dict[str, TransferMap] = {
    # As published: a3, a6, a7, a24, a25, a27.
    "utd-mhad": TransferMap({2: 22, 5: 95, 6: 62, 23: 8, 24: 7, 26: 79}, TO_NTU),
    # Ours, by meaning: drinking, calling phone, playing phone, wearing backpacks, packing backpacks, sitting chair.
    "sysu": TransferMap({0: 0, 2: 27, 3: 28, 4: 86, 5: 88, 6: 7}, TO_NTU),
}


def find_map(asked: str, target: Description, model_classes: tuple[str, ...]) -> TransferMap:
    """The map of that name or file; "" for that of the target's data set.

    A file is {"classes": {target class: model class}, "joints": {joint: {joint: weight}}}; classes are names or
    0-based labels, and "joints" may be left out.

    Raises:
        UserError: neither a known name nor a file, or one that does not fit.
    """
    name = asked or target.dataset
    if name in MAPS:
        found = MAPS[name]
        if max(found.classes) >= target.num_classes:
            raise UserError(
                f"--map {name}: the cache has {target.num_classes} classes; it is of {target.dataset}"
            )
        return found
    path = Path(name)
    if not asked or not path.is_file():
        raise UserError(f"--map {name}: neither a file nor one of {', '.join(MAPS)}")
    try:
        value: Any = json.loads(path.read_text(encoding="utf-8"))
        classes = dict(value["classes"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path}: not a map {{"classes": {{…}}, "joints": {{…}}}} ({error!r})') from None
    found_classes = {
        _find_label(mine, target.classes, f"{path}: class of the cache"): _find_label(
            theirs, model_classes, f"{path}: class of the model"
        )
        for mine, theirs in classes.items()
    }
    if not found_classes:
        raise UserError(f"{path}: no classes in it")
    return TransferMap(found_classes, parse_rules(value["joints"], path) if "joints" in value else TO_NTU)


def _find_label(name: Any, classes: tuple[str, ...], where: str) -> int:
    if name in classes:
        return classes.index(name)
    if str(name).isdecimal():
        return int(name)
    raise UserError(f"{where}: {name!r} is none of {', '.join(classes[:8])} …")
