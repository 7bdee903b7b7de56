"""The key map: every tensor once, both ways, or a message that says what did not fit."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from mmcl_train.backbones.published import (
    KeyRule,
    PublishedKeyError,
    export_published,
    import_published,
    own_tensors,
    published_gradients,
    resolve_aliases,
    unwrap_checkpoint,
)

RULES = (
    KeyRule(r"conv\.(\w+)", (r"a.\1", r"b.\1"), "cat"),
    KeyRule(r"norm\.(\w+)", (r"n1.\1", r"n2.\1"), "cat"),
    KeyRule(r"turned", "t", permute=(1, 0)),
    KeyRule(r"stacked", ("s.0", "s.1"), "stack"),
    KeyRule(r"classifier\.(\w+)", r"fc.\1"),
)


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 5, 1)
        self.norm = nn.BatchNorm1d(4)
        self.turned = nn.Parameter(torch.zeros(3, 2))
        self.stacked = nn.Parameter(torch.zeros(2, 3))


@pytest.fixture
def model() -> nn.Module:
    made = nn.Module()
    made.backbone, made.classifier = Small(), nn.Linear(3, 4)
    return made


@pytest.fixture
def state() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    made = {"a.weight": draw(2, 2, 1, 1), "a.bias": draw(2), "b.weight": draw(3, 2, 1, 1), "b.bias": draw(3)}
    for norm in ("n1", "n2"):
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            made[f"{norm}.{leaf}"] = draw(2)
        made[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    made |= {
        "t": draw(2, 3),
        "s.0": draw(3, 1),
        "s.1": draw(3, 1),
        "fc.weight": draw(4, 3),
        "fc.bias": draw(4),
    }
    return made


def test_import_then_export_gives_the_same_tensors_back(model: nn.Module, state: dict[str, Tensor]) -> None:
    import_published(model, state, RULES)
    back = export_published(own_tensors(model), RULES, {name: tuple(t.shape) for name, t in state.items()})
    assert set(back) == set(state)
    for name, value in state.items():
        assert torch.equal(back[name], value), name


def test_data_parallel_prefix_is_dropped(model: nn.Module, state: dict[str, Tensor]) -> None:
    import_published(model, {f"module.{name}": value for name, value in state.items()}, RULES)
    assert torch.equal(model.classifier.bias, state["fc.bias"])


def test_missing_left_over_and_misshapen_are_all_named(model: nn.Module, state: dict[str, Tensor]) -> None:
    del state["t"]
    state["extra"] = torch.zeros(1)
    state["fc.weight"] = torch.zeros(9, 3)
    before = model.classifier.bias.clone()
    with pytest.raises(
        PublishedKeyError, match=r"missing: t; .*not known: extra; .*fc\.weight gives \(9, 3\)"
    ):
        import_published(model, state, RULES)
    assert torch.equal(model.classifier.bias, before)


def test_ignored_published_tensors_may_be_there(model: nn.Module, state: dict[str, Tensor]) -> None:
    state["cnn.conv1.weight"] = torch.zeros(1)
    import_published(model, state, RULES, (r"cnn\..*",))


def test_tensor_without_a_rule_is_an_error(model: nn.Module, state: dict[str, Tensor]) -> None:
    with pytest.raises(PublishedKeyError, match="no key rule covers our tensor 'stacked'"):
        import_published(model, state, [rule for rule in RULES if rule.ours != "stacked"])


def test_published_tensor_claimed_twice_is_an_error(model: nn.Module, state: dict[str, Tensor]) -> None:
    clash = (KeyRule(r"turned", "s.0"), *[rule for rule in RULES if rule.ours != "turned"])
    with pytest.raises(PublishedKeyError, match=r"'s\.0' is claimed by"):
        import_published(model, state, clash)


def test_gradients_go_back_under_published_names(model: nn.Module, state: dict[str, Tensor]) -> None:
    import_published(model, state, RULES)
    (model.backbone.conv(torch.ones(1, 2, 1, 1)) * torch.arange(5.0).view(1, 5, 1, 1)).sum().backward()
    gradients = published_gradients(model, RULES, {name: tuple(t.shape) for name, t in state.items()})
    assert gradients["b.bias"].tolist() == [2.0, 3.0, 4.0]
    assert not gradients["t"].any()


def test_second_name_of_a_tensor_wins() -> None:
    resolved = resolve_aliases(
        {"conv.5.w": torch.zeros(1), "last.w": torch.ones(1)}, {r"last\.(\w+)": r"conv.5.\1"}
    )
    assert list(resolved) == ["conv.5.w"]
    assert resolved["conv.5.w"] == 1


def test_checkpoint_under_a_usual_key_is_unwrapped() -> None:
    assert list(unwrap_checkpoint({"meta": {}, "state_dict": {"module.a": torch.zeros(1)}})) == ["a"]
    with pytest.raises(PublishedKeyError, match="no state dict"):
        unwrap_checkpoint({"epoch": 3})
