"""Single settings by their dotted names: JSON, typed `a.b=c` overrides, what differs, and a run's fingerprint."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import json
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mmcl_cache.store import UserError

from .config import PLACE_KEYS, RunConfig, check_values


def to_dict(config: Any) -> dict[str, Any]:
    """Nested plain dict of a config; tuples become lists."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(config)))
    return plain


def to_json(config: Any) -> str:
    """Canonical JSON: sorted keys, two spaces, one final newline; equal configs give equal bytes."""
    return json.dumps(to_dict(config), indent=2, sort_keys=True) + "\n"


def from_dict(values: Mapping[str, Any], where: str = "config") -> RunConfig:
    """A RunConfig of a nested dict. Raises UserError for an unknown key or a value of another type."""
    config = RunConfig()
    for key, value in flatten(values):
        config = set_value(config, key, value, where)
    check_values(config, where)
    return config


def load_config(path: Path) -> RunConfig:
    """Read a saved config.json. Raises UserError where it cannot be read."""
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        raise UserError(f"{path}: no such config file") from None
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable JSON config ({error})") from None
    if not isinstance(values, dict):
        raise UserError(f"{path}: a config is a JSON object, not {type(values).__name__}")
    return from_dict(values, str(path))


def override(config: RunConfig, assignments: Sequence[str]) -> RunConfig:
    """Apply `a.b=c` assignments in order, each parsed to the type of the setting.

    Raises:
        UserError: no `=`, an unknown setting (the nearest known ones are listed), or a value of another type.
    """
    for assignment in assignments:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise UserError(f"--set {assignment}: write it as setting=value, for example train.batch=64")
        kind = key_type(key.strip(), f"--set {assignment}")
        config = set_value(
            config, key.strip(), parse_value(text.strip(), kind, f"--set {assignment}"), "--set"
        )
    check_values(config, "--set")
    return config


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and leaves of a nested dict, in its order."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def known_keys() -> dict[str, Any]:
    """Dotted name of every setting → its type."""
    keys: dict[str, Any] = {}
    for name, kind in typing.get_type_hints(RunConfig).items():
        if dataclasses.is_dataclass(kind):
            keys.update(
                {f"{name}.{leaf}": leaf_kind for leaf, leaf_kind in typing.get_type_hints(kind).items()}
            )
        else:
            keys[name] = kind
    return keys


def key_type(key: str, where: str) -> Any:
    """The type of a setting. Raises UserError that lists the nearest settings, or all of its section."""
    keys = known_keys()
    if key in keys:
        return keys[key]
    section = [name for name in keys if name.startswith(key.split(".")[0] + ".")]
    near = difflib.get_close_matches(key, keys, n=3, cutoff=0.6)
    near += [name for name in keys if name.split(".")[-1] == key.split(".")[-1] and name not in near]
    raise UserError(f"{where}: no setting {key!r}; near it: {', '.join(near or section or keys)}")


def parse_value(text: str, kind: Any, where: str) -> Any:
    """Parse text to bool, int, float, str or a tuple of one of these (written 35,55 or [35, 55])."""
    if kind is str:
        return text
    if kind is bool:
        words = {
            "true": True,
            "false": False,
            "yes": True,
            "no": False,
            "on": True,
            "off": False,
            "1": True,
            "0": False,
        }
        if text.lower() in words:
            return words[text.lower()]
        raise UserError(f"{where}: {text!r} is not a truth value; write true or false")
    if typing.get_origin(kind) is tuple:
        parts = [part.strip() for part in text.strip("[]() ").split(",") if part.strip()]
        element = typing.get_args(kind)[0]
        return tuple(parse_value(part, element, where) for part in parts)
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        raise UserError(
            f"{where}: {text!r} is not {'a whole number' if kind is int else 'a number'}"
        ) from None


def set_value(config: RunConfig, key: str, value: Any, where: str) -> RunConfig:
    """A copy of the config with one setting changed; the value must already be of the setting's type."""
    kind = key_type(key, where)
    value = _convert(value, kind)
    if not _fits(value, kind):
        raise UserError(f"{where}: {key} must be {_type_name(kind)}, not {value!r}")
    section, _, leaf = key.rpartition(".")
    if not section:
        return dataclasses.replace(config, **{leaf: value})
    return dataclasses.replace(
        config, **{section: dataclasses.replace(getattr(config, section), **{leaf: value})}
    )


def differences(ours: RunConfig, theirs: RunConfig, ignore: frozenset[str] = PLACE_KEYS) -> list[str]:
    """`key: theirs → ours` for every setting that differs, those of place left out."""
    mine, other = dict(flatten(to_dict(ours))), dict(flatten(to_dict(theirs)))
    return [
        f"{key}: {other[key]} → {mine[key]}" for key in mine if key not in ignore and mine[key] != other[key]
    ]


def fingerprint(config: RunConfig, fields: Mapping[str, str]) -> str:
    """sha256 (16 hex digits) of what decides a run's numbers: its settings and the fields it reads."""
    settings = {key: value for key, value in flatten(to_dict(config)) if key not in PLACE_KEYS}
    text = json.dumps({"settings": settings, "fields": dict(fields)}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _convert(value: Any, kind: Any) -> Any:
    """JSON has lists for tuples and may write a float without its point."""
    if typing.get_origin(kind) is tuple and isinstance(value, (list, tuple)):
        return tuple(_convert(part, typing.get_args(kind)[0]) for part in value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _fits(value: Any, kind: Any) -> bool:
    if typing.get_origin(kind) is tuple:
        arguments = typing.get_args(kind)
        fixed = len(arguments) if arguments[-1] is not Ellipsis else None
        return (
            isinstance(value, tuple)
            and fixed in (None, len(value))
            and all(_fits(v, arguments[0]) for v in value)
        )
    if kind is int and isinstance(value, bool):
        return False
    return isinstance(value, kind)


def _type_name(kind: Any) -> str:
    if isinstance(kind, types.GenericAlias) or typing.get_origin(kind) is tuple:
        return f"a list of {typing.get_args(kind)[0].__name__}"
    return {"int": "a whole number", "float": "a number", "bool": "true or false", "str": "text"}[
        kind.__name__
    ]


def describe_settings() -> list[str]:
    """One line a setting: name, type and default."""
    defaults = dict(flatten(to_dict(RunConfig())))
    return [
        f"{key} = {json.dumps(defaults[key])}  ({_type_name(kind)})" for key, kind in known_keys().items()
    ]
