"""Auxiliary objectives: values by hand, through the task, and which backbone takes which."""

from __future__ import annotations

import math
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmcl_cache.store import LAYOUTS, UserError
from mmcl_train.backbones import BACKBONES, Backbone, create_backbone
from mmcl_train.config import CHOICES
from mmcl_train.data.batch import Batch
from mmcl_train.method.auxiliary import AUXILIARIES, Auxiliary, Observed, create_auxiliary
from mmcl_train.method.auxiliary.base import Gather
from mmcl_train.method.auxiliary.class_memory import ClassMemory
from mmcl_train.method.auxiliary.frhead import AmbiguityContrast
from mmcl_train.method.auxiliary.skeletongcl import contrast_with_bank
from mmcl_train.method.model import SkeletonModel
from mmcl_train.method.task import CoLearningTask, LossWeights, keep_rows
from tests.mmcl_train.method.test_task import Exchange, TinyBackbone, take
from tests.mmcl_train.method.test_task import make_batch as make_tiny_batch

CLASSES, SAMPLES, FRAMES = 3, 12, 8
BACKBONE_OF = {"frhead": "ctrgcn", "skeletongcl": "ctrgcn", "infogcn": "infogcn", "protogcn": "protogcn"}


def build(name: str) -> Backbone:
    torch.manual_seed(0)
    return create_backbone(name, layout=LAYOUTS["ntu25"], clip_length=FRAMES, width=0.125)


def make_task(auxiliary: str, backbone: str = "", weight: float = 0.5) -> CoLearningTask:
    model = SkeletonModel(build(backbone or BACKBONE_OF[auxiliary]), CLASSES)
    made: Auxiliary | None = None
    if auxiliary:
        made = create_auxiliary(auxiliary, model.backbone, num_classes=CLASSES, num_samples=SAMPLES)
    return CoLearningTask(model, weights=LossWeights(auxiliary=weight), auxiliary=made)


def make_batch() -> Batch:
    generator = torch.Generator().manual_seed(1)
    none = torch.zeros(SAMPLES, dtype=torch.bool)
    return Batch(
        joints=torch.randn(SAMPLES, 3, FRAMES, 25, 2, generator=generator),
        labels=torch.arange(SAMPLES) % CLASSES,
        rgb=None,
        rgb_valid=none,
        text=None,
        text_valid=none,
        indices=torch.arange(SAMPLES),
    )


@pytest.fixture(params=sorted(AUXILIARIES))
def auxiliary(request: pytest.FixtureRequest) -> str:
    return request.param


def test_settings_know_every_objective() -> None:
    assert set(CHOICES["method.auxiliary"]) == {"", "none", *AUXILIARIES}


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="frhead"):
        create_auxiliary("frhaed", build("ctrgcn"), num_classes=2, num_samples=2)


def test_every_objective_states_its_publication_and_weight(auxiliary: str) -> None:
    assert AUXILIARIES[auxiliary].publication and AUXILIARIES[auxiliary].weight > 0


def test_gradient_reaches_the_objective_and_the_backbone(auxiliary: str) -> None:
    task = make_task(auxiliary)
    losses = task(make_batch()).losses
    assert losses.auxiliary.isfinite() and losses.auxiliary > 0
    losses.auxiliary.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in task.auxiliary.parameters())
    reached = [p for p in task.model.backbone.parameters() if p.grad is not None and p.grad.any()]
    assert reached


def test_total_has_the_weighted_term(auxiliary: str) -> None:
    losses = make_task(auxiliary, weight=0.25)(make_batch()).losses
    torch.testing.assert_close(losses.total, losses.classification + 0.25 * losses.auxiliary)


def test_the_same_seed_gives_the_same_loss(auxiliary: str) -> None:
    values = []
    for _ in range(2):
        task = make_task(auxiliary)
        torch.manual_seed(3)
        values.append([task(make_batch()).losses.auxiliary for _ in range(2)])
    assert torch.equal(torch.stack(values[0]), torch.stack(values[1]))


def test_model_and_its_classification_are_the_same_with_an_objective(auxiliary: str) -> None:
    plain, with_it = make_task("", BACKBONE_OF[auxiliary]), make_task(auxiliary)
    assert plain.model.state_dict().keys() == with_it.model.state_dict().keys()
    torch.manual_seed(3)
    before = plain.train()(make_batch())
    torch.manual_seed(3)
    after = with_it.train()(make_batch())
    if auxiliary != "protogcn":  # its dropout in the reconstruction draws between
        torch.testing.assert_close(before.logits, after.logits)
    assert before.losses.auxiliary == 0 and torch.equal(before.losses.total, before.losses.classification)


def test_state_lies_apart_from_the_model_and_goes_round(auxiliary: str) -> None:
    task = make_task(auxiliary)
    names = [name for name in task.state_dict() if not name.startswith("model.")]
    assert names and all(name.startswith("auxiliary.") for name in names)
    task(make_batch())
    other = make_task(auxiliary)
    other.load_state_dict(task.state_dict())
    losses = []
    for each in (task, other):
        torch.manual_seed(5)
        losses.append(each(make_batch()).losses.auxiliary)
    assert torch.equal(*losses)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_each_backbone_takes_an_objective_or_says_why_not(auxiliary: str, backbone: str) -> None:
    made = build(backbone)
    try:
        create_auxiliary(auxiliary, made, num_classes=CLASSES, num_samples=SAMPLES)
    except UserError as error:
        assert type(made).__name__ in str(error) and "method.auxiliary" in str(error)
        assert backbone != BACKBONE_OF[auxiliary]
    assert made.own_auxiliary in ("", backbone)


@pytest.mark.parametrize("backbone", sorted(BACKBONES))
def test_what_a_backbone_gives_to_watch_leaves_its_features_as_they_are(backbone: str) -> None:
    made = build(backbone).eval()
    joints = make_batch().joints[:2]
    with torch.no_grad():
        features = made(joints)
        shapes = made.map_shapes(FRAMES)
        if shapes:
            watched, maps = made.forward_with_maps(joints)
            assert [(x.shape[0], x.shape[1], x.shape[2], x.shape[3]) for x in maps] == [
                (4, channels, frames, 25) for channels, frames in shapes
            ]
            torch.testing.assert_close(watched, features)
        if made.num_graph_features:
            watched, graph = made.forward_with_graph(joints)
            assert graph.shape == (2, made.num_graph_features)
            torch.testing.assert_close(watched, features)


def test_inferred_graph_is_the_refinement_without_scale_and_skeleton() -> None:
    unit = build("ctrgcn").blocks[4].graph
    x = torch.randn(2, unit.value.in_channels, 4, 25)
    with torch.no_grad():
        unit.alpha.fill_(1.0)
        whole = unit.topology(x) - unit.adjacency.transpose(1, 2).unsqueeze(1)  # (N, K, C, V from, V to)
        torch.testing.assert_close(unit.infer_graph(x), whole.mean(dim=2).transpose(-1, -2))


# Values by hand.


def test_class_memory_blends_counted_rows_and_keeps_the_rest() -> None:
    memory = ClassMemory(2, 2).train()
    memory.means.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    features = torch.tensor([[3.0, 1.0], [5.0, 1.0], [9.0, 9.0]], requires_grad=True)
    counted = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    blended = memory(features, counted)
    torch.testing.assert_close(blended, torch.tensor([[0.9 + 0.1 * 4, 0.1], [0.0, 1.0]]))
    torch.testing.assert_close(memory.means, blended.detach())
    blended.sum().backward()
    torch.testing.assert_close(features.grad, torch.tensor([[0.05, 0.05], [0.05, 0.05], [0.0, 0.0]]))
    memory.eval()(features.detach() + 5, counted)
    torch.testing.assert_close(memory.means, blended.detach())


def test_class_contrast_is_the_cross_entropy_of_cosines_over_temperature() -> None:
    made = create_auxiliary("protogcn", build("protogcn"), num_classes=2, num_samples=4).eval()
    with torch.no_grad():
        made.project.weight.zero_()
        made.project.bias.copy_(F.one_hot(torch.tensor(0), 256).float())
        made.memory.means.zero_()
        made.memory.means[0, 0] = made.memory.means[1, 1] = 2.0
    # The logits are wrong, so that the memory takes nothing in: cosines 1 and 0.
    graph, logits = torch.zeros(1, 625), torch.tensor([[0.0, 1.0]])
    seen = Observed(torch.zeros(1, 4), (graph,), logits, torch.tensor([0]), torch.tensor([0]))
    assert made(seen, keep_rows).item() == pytest.approx(math.log(1 + math.exp(-8.0)), abs=1e-6)


def test_ambiguous_rows_are_scored_lower_for_their_own_class() -> None:
    contrast = AmbiguityContrast(2, 2).eval()
    with torch.no_grad():
        contrast.project = torch.nn.Identity()
        contrast.memory = ClassMemory(2, 2).eval()
        contrast.memory.means.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        contrast.memory.momentum = 1.0  # nothing is blended in
    features = torch.tensor([[1.0, 0.0], [0.0, 1.0]])  # row 0 is right, row 1 of class 0 is taken for 1
    logits, labels = torch.tensor([[0.0, 0.0 - 1e-6], [0.0, 4.0]]), torch.tensor([0, 0])
    # Row 0: p = 1/2; cosine to the missed row of class 0 is 0, so 1/8 · 1/2 · (0 − 1) off in the first term; no
    # other row is taken for class 0, so nothing off in the second. Row 1: plain cosines 0 and 1.
    pulled = math.log(1 + math.exp(-8 * (1 - 1 / 16)))
    pushed, wrong = math.log(1 + math.exp(-8.0)), math.log(1 + math.exp(8.0))
    expected = (pulled + wrong) / 2 + (pushed + wrong) / 2
    found = contrast(features, logits, labels, keep_rows)
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_bank_contrast_takes_the_hardest_and_random_others() -> None:
    alike = torch.tensor([[0.9, 0.1, 0.5, -0.2, 0.7]])
    bank_labels = torch.tensor([0, 0, 1, 2, -1])  # the last entry is empty
    draws = torch.tensor([[0.9, 0.9, 0.1, 0.8, 0.99]])  # the random one is entry 3
    losses, usable = contrast_with_bank(alike, torch.tensor([0]), bank_labels, 1, 1, draws, temperature=1.0)
    hard, random = math.log(1 + math.exp(0.5 - 0.1)), math.log(1 + math.exp(-0.2 - 0.1))
    assert usable.all() and losses.item() == pytest.approx((hard + random) / 2, rel=1e-5)
    _, usable = contrast_with_bank(alike, torch.tensor([2]), bank_labels, 2, 1, draws)
    assert not usable.any()


def test_bank_remembers_the_rows_it_was_given() -> None:
    task = make_task("skeletongcl")
    batch = make_batch()
    task(batch)
    assert torch.equal(task.auxiliary.bank_labels, batch.labels)
    torch.testing.assert_close(task.auxiliary.bank.norm(dim=1), torch.ones(SAMPLES))


def test_information_bottleneck_is_the_distance_of_class_means_to_priors() -> None:
    made = create_auxiliary("infogcn", build("infogcn"), num_classes=2, num_samples=4)
    width = made.regulariser.prior.shape[1]
    made.regulariser.prior.copy_(torch.ones(2, width))
    features = torch.full((2, width), 3.0)
    seen = Observed(features, (), torch.zeros(2, 2), torch.tensor([0, 0]), torch.arange(2))
    expected = 1e-4 * 3.0 * math.sqrt(width) + 0.1 * 4.0
    assert made(seen, keep_rows).item() == pytest.approx(expected, rel=1e-5)


class GraphBackbone(TinyBackbone):
    """The tiny backbone of the task's tests, which also gives a graph."""

    def __init__(self) -> None:
        super().__init__(LAYOUTS["ntu25"])
        self.num_graph_features = 4
        self.graph = torch.nn.Linear(3 * 25, 4)

    def forward_with_graph(self, joints: Tensor) -> tuple[Tensor, Tensor]:
        return self(joints), self.graph(joints.mean(dim=(2, 4)).flatten(1))


def make_tiny_task(gather: Gather = keep_rows) -> CoLearningTask:
    torch.manual_seed(0)
    backbone = GraphBackbone()
    made = create_auxiliary("protogcn", backbone, num_classes=5, num_samples=8)
    task = CoLearningTask(SkeletonModel(backbone, 5), gather=gather, auxiliary=made)
    return task.double().train()


def test_two_processes_with_half_the_batch_equal_one_with_the_whole() -> None:
    batch, exchange, one = make_tiny_batch(), Exchange(), make_tiny_task()
    whole = one(batch).losses
    whole.total.backward()
    tasks = [make_tiny_task(exchange.gather_for(rank)) for rank in range(2)]
    outputs: list = [None, None]

    def run(rank: int) -> None:
        outputs[rank] = tasks[rank](take(batch, torch.arange(4) + 4 * rank)).losses

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    (sum(losses.total for losses in outputs) / 2).backward()
    for rank in range(2):
        torch.testing.assert_close(outputs[rank].auxiliary, whole.auxiliary)
        torch.testing.assert_close(tasks[rank].auxiliary.memory.means, one.auxiliary.memory.means)
    for own, *halves in zip(one.parameters(), *(task.parameters() for task in tasks), strict=True):
        torch.testing.assert_close(own.grad, sum(half.grad for half in halves))
