"""The map between our state-dict names and the publications', strict both ways.

Ours are often fused (one convolution for all subsets), so a rule says which published tensors make
one of ours: copied, concatenated, stacked, or the same in all (`num_batches_tracked`).

Names of ours are the backbone's own state-dict names, and the classifier's behind `classifier.`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from mmcl_cache.store import UserError

Combine = Literal["copy", "cat", "stack", "same"]
# Where training code puts a state dict among other things.
WRAPPERS = ("state_dict", "model_state_dict", "model_state", "model", "net", "weights")
Shape = tuple[int, ...]


class PublishedKeyError(UserError):
    """Published and own tensors do not fit together."""


@dataclass(frozen=True)
class KeyRule:
    r"""How one family of our tensors is made from published ones.

    Attributes:
        ours: regex that must match the whole of our name.
        published: template(s) expanded with the match (`r"l\1.fc.\2"`); several for all but "copy".
        combine: "copy" (one template); "cat" / "stack" along `dim`, in order; "same": all published
            tensors are equal by nature, the first is read and all are written. A
            `num_batches_tracked` under "cat" or "stack" is taken as "same".
        dim: axis of "cat" and "stack", in the published tensors' axes.
        permute: axes order that turns the combined published tensor into ours; None: as it is.

    The result may differ from our shape by axes of length one (a 1×1 kernel held as a matrix).
    """

    ours: str
    published: str | tuple[str, ...]
    combine: Combine = "copy"
    dim: int = 0
    permute: tuple[int, ...] | None = None

    @property
    def templates(self) -> tuple[str, ...]:
        return (self.published,) if isinstance(self.published, str) else self.published


@dataclass(frozen=True)
class Source:
    """One of our tensors: the published names it is made from, and how."""

    names: tuple[str, ...]
    rule: KeyRule


def rules(*groups: KeyRule | Sequence[KeyRule]) -> tuple[KeyRule, ...]:
    """Flatten rules and groups of rules, in order; the first that matches a name wins."""
    flat: list[KeyRule] = []
    for group in groups:
        flat.extend([group] if isinstance(group, KeyRule) else group)
    return tuple(flat)


def own_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Our tensors by rule name: `model.backbone`'s bare, `model.classifier`'s behind `classifier.`."""
    backbone, classifier = model.get_submodule("backbone"), model.get_submodule("classifier")
    named = dict(backbone.state_dict())
    named.update({f"classifier.{name}": value for name, value in classifier.state_dict().items()})
    return named


def find_sources(names: Sequence[str], key_rules: Sequence[KeyRule]) -> dict[str, Source]:
    """For each of our names, where it comes from.

    Raises:
        PublishedKeyError: a name that no rule covers, or a published name claimed by two of ours.
    """
    compiled = [(re.compile(rule.ours), rule) for rule in key_rules]
    sources: dict[str, Source] = {}
    claimed: dict[str, str] = {}
    for name in names:
        for pattern, rule in compiled:
            match = pattern.fullmatch(name)
            if match is not None:
                sources[name] = Source(tuple(match.expand(t) for t in rule.templates), rule)
                break
        else:
            raise PublishedKeyError(f"no key rule covers our tensor {name!r}: add one to published_rules")
        for published in sources[name].names:
            if claimed.setdefault(published, name) != name:
                raise PublishedKeyError(
                    f"published {published!r} is claimed by {claimed[published]!r} and {name!r}"
                )
    return sources


def strip_module_prefix(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Without the `module.` that data-parallel wrappers put before every name."""
    return {name.removeprefix("module."): value for name, value in state.items()}


def unwrap_checkpoint(loaded: object) -> dict[str, Tensor]:
    """The state dict in what `torch.load(..., weights_only=True)` gave: plain, or under a usual key.

    Raises:
        PublishedKeyError: no dictionary of tensors in it.
    """
    for _ in range(2):
        if isinstance(loaded, Mapping) and loaded and all(isinstance(v, Tensor) for v in loaded.values()):
            return strip_module_prefix(loaded)
        inner = None
        if isinstance(loaded, Mapping):
            inner = next((loaded[key] for key in WRAPPERS if key in loaded), None)
        loaded = inner
    raise PublishedKeyError(
        "the file holds no state dict (a mapping of names to tensors); save model.state_dict()"
    )


def _is_counter(name: str) -> bool:
    return name.rsplit(".", 1)[-1] == "num_batches_tracked"


def _squeezed(shape: Sequence[int]) -> Shape:
    return tuple(size for size in shape if size != 1)


def _combine(name: str, source: Source, parts: Sequence[Tensor]) -> Tensor:
    rule = source.rule
    if rule.combine in ("copy", "same") or _is_counter(name):
        value = parts[0]
    elif rule.combine == "cat":
        value = torch.cat(list(parts), dim=rule.dim)
    else:
        value = torch.stack(list(parts), dim=rule.dim)
    return value if rule.permute is None or _is_counter(name) else value.permute(rule.permute)


def _split(name: str, source: Source, ours: Tensor, shapes: Mapping[str, Shape] | None) -> list[Tensor]:
    rule, count = source.rule, len(source.names)
    if rule.combine in ("copy", "same") or _is_counter(name):
        if rule.permute is not None and not _is_counter(name):
            ours = _unpermute(ours, rule.permute)
        return [ours] * count
    if shapes is not None:
        ours = ours.reshape(_combined_shape(source, shapes))
    if rule.permute is not None:
        ours = _unpermute(ours, rule.permute)
    if rule.combine == "stack":
        return list(ours.unbind(rule.dim))
    if shapes is None:
        if ours.shape[rule.dim] % count:
            raise PublishedKeyError(f"{name!r}: parts of unequal size cannot be split without their shapes")
        return list(ours.chunk(count, dim=rule.dim))
    return list(ours.split([shapes[published][rule.dim] for published in source.names], dim=rule.dim))


def _unpermute(value: Tensor, order: Sequence[int]) -> Tensor:
    return value.permute([list(order).index(axis) for axis in range(len(order))])


def _combined_shape(source: Source, shapes: Mapping[str, Shape]) -> Shape:
    """Shape after combining and permuting, from the parts' shapes."""
    rule = source.rule
    meta = [torch.empty(shapes[name], device="meta") for name in source.names]
    return tuple(_combine("", source, meta).shape) if rule.combine != "copy" else tuple(meta[0].shape)


def resolve_aliases(state: Mapping[str, Tensor], aliases: Mapping[str, str]) -> dict[str, Tensor]:
    """Published names that are a second name of the same tensor (regex → template) put under the first.

    The second's value wins, as it does when the publication itself loads such a file.
    """
    resolved = dict(state)
    for name in state:
        for pattern, template in aliases.items():
            match = re.fullmatch(pattern, name)
            if match is not None:
                resolved[match.expand(template)] = resolved.pop(name)
    return resolved


def import_published(
    model: nn.Module,
    state: Mapping[str, Tensor],
    key_rules: Sequence[KeyRule],
    ignored: Sequence[str] = (),
    aliases: Mapping[str, str] | None = None,
) -> None:
    """Fill `model` (with `.backbone` and `.classifier`) from a published state dict, in place.

    Strict both ways: every tensor of ours must find its parts, and every published tensor must be
    used or match a regex of `ignored`. Nothing is written unless everything fits.

    Raises:
        PublishedKeyError: one line that names what is missing, left over, or of another shape.
    """
    state = resolve_aliases(strip_module_prefix(state), aliases or {})
    own = own_tensors(model)
    sources = find_sources(list(own), key_rules)
    used = {name for source in sources.values() for name in source.names}
    missing = sorted(used - set(state))
    left_over = sorted(
        name for name in set(state) - used if not any(re.fullmatch(pattern, name) for pattern in ignored)
    )
    values: dict[str, Tensor] = {}
    misfits: list[str] = []
    for name, source in sources.items():
        if any(published not in state for published in source.names):
            continue
        wanted = tuple(own[name].shape)
        try:
            value = _combine(name, source, [state[published] for published in source.names])
        except RuntimeError as error:
            misfits.append(f"{', '.join(source.names)} do not join ({str(error).splitlines()[0]})")
            continue
        if tuple(value.shape) != wanted and _squeezed(value.shape) != _squeezed(wanted):
            misfits.append(f"{source.names[0]} gives {tuple(value.shape)}, ours is {wanted}")
        else:
            values[name] = value.reshape(wanted)
    problems = [
        f"{len(found)} {what}: {', '.join(found[:4])}{' …' if len(found) > 4 else ''}"
        for what, found in (("missing", missing), ("not known", left_over), ("of another shape", misfits))
        if found
    ]
    if problems:
        raise PublishedKeyError(
            f"this checkpoint does not fit {type(model.get_submodule('backbone')).__name__}: "
            + "; ".join(problems)
            + ". Check the backbone, the class count and the number of joints and bodies."
        )
    with torch.no_grad():
        for name, value in values.items():
            own[name].copy_(value)


def export_published(
    tensors: Mapping[str, Tensor],
    key_rules: Sequence[KeyRule],
    shapes: Mapping[str, Shape] | None = None,
) -> dict[str, Tensor]:
    """Our tensors (values or gradients, by rule name) under their published names.

    Args:
        tensors: as `own_tensors` gives, or any part of it.
        shapes: the published shapes, where known; needed where parts differ in size.
    """
    exported: dict[str, Tensor] = {}
    for name, source in find_sources(list(tensors), key_rules).items():
        for published, part in zip(source.names, _split(name, source, tensors[name], shapes), strict=True):
            exported[published] = part if shapes is None else part.reshape(shapes[published])
    return exported


def published_gradients(
    model: nn.Module, key_rules: Sequence[KeyRule], shapes: Mapping[str, Shape] | None = None
) -> dict[str, Tensor]:
    """Gradients under published names; zeros where a parameter has none."""
    named = dict(model.get_submodule("backbone").named_parameters())
    named |= {f"classifier.{n}": p for n, p in model.get_submodule("classifier").named_parameters()}
    gradients = {n: p.grad if p.grad is not None else torch.zeros_like(p) for n, p in named.items()}
    return export_published(gradients, key_rules, shapes)
