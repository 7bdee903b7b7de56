"""The task: which losses there are, masks, several processes, and that a model keeps no trace of it."""

from __future__ import annotations

import dataclasses
import threading

import pytest
import torch
from torch import Tensor, nn

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.backbones.base import Backbone
from mmcl_train.data.batch import Batch
from mmcl_train.method.fam import FeatureAlignment
from mmcl_train.method.frm import FeatureRefinement
from mmcl_train.method.losses import classification_loss
from mmcl_train.method.model import SkeletonModel
from mmcl_train.method.task import CoLearningTask, LossWeights

CLASSES, WIDTH = 5, 6


class TinyBackbone(Backbone):
    """Mean over time and bodies, one linear layer: wiring without a GCN."""

    def __init__(self, layout: Layout) -> None:
        super().__init__(layout=layout, num_bodies=2, clip_length=4, in_channels=3)
        self.num_features = WIDTH
        self.linear = nn.Linear(3 * layout.num_joints, WIDTH)

    def forward(self, joints: Tensor) -> Tensor:
        self.check_input(joints)
        return self.linear(joints.mean(dim=(2, 4)).flatten(1))


def make_task(fam: bool = True, frm: bool = True, seed: int = 0, **given: object) -> CoLearningTask:
    torch.manual_seed(seed)
    model = SkeletonModel(TinyBackbone(LAYOUTS["ntu25"]), CLASSES)
    parts = FeatureAlignment(10, WIDTH) if fam else None, FeatureRefinement(3, CLASSES) if frm else None
    return CoLearningTask(model, *parts, **given).double()


def make_batch(rows: int = 8, masked: tuple[int, ...] = ()) -> Batch:
    generator = torch.Generator().manual_seed(5)
    valid = torch.ones(rows, dtype=torch.bool)
    valid[list(masked)] = False
    return Batch(
        joints=torch.randn(rows, 3, 4, 25, 2, generator=generator, dtype=torch.float64),
        labels=torch.arange(rows) % CLASSES,
        rgb=torch.randn(rows, 10, generator=generator, dtype=torch.float64) * valid[:, None],
        rgb_valid=valid,
        text=torch.rand(rows, 3, generator=generator, dtype=torch.float64) * valid[:, None],
        text_valid=valid,
        indices=torch.arange(rows),
    )


def take(batch: Batch, rows: Tensor) -> Batch:
    tensors = {f.name: getattr(batch, f.name) for f in dataclasses.fields(batch)}
    return Batch(**{name: None if t is None else t[rows] for name, t in tensors.items()})


def test_total_is_the_weighted_sum() -> None:
    losses = make_task(weights=LossWeights(0.3, 0.7))(make_batch()).losses
    torch.testing.assert_close(
        losses.total, losses.classification + 0.3 * losses.contrastive + 0.7 * losses.refinement
    )


def test_without_the_method_it_is_the_classification_alone() -> None:
    task, batch = make_task(fam=False, frm=False), make_batch()
    losses, logits, refined = task(batch)
    assert losses.contrastive == 0 and losses.refinement == 0 and refined is None
    torch.testing.assert_close(losses.total, classification_loss(task.model(batch.joints), batch.labels))
    torch.testing.assert_close(logits, task.model(batch.joints))


def test_refined_logits_equal_logits_at_the_start() -> None:
    output = make_task()(make_batch())
    torch.testing.assert_close(output.refined, output.logits)


def test_rows_without_rgb_and_text_do_not_enter_their_losses() -> None:
    task, masked = make_task(), (1, 6)
    batch = make_batch(masked=masked)
    kept = torch.tensor([n for n in range(8) if n not in masked])
    whole, part = task(batch).losses, task(take(batch, kept)).losses
    torch.testing.assert_close(whole.contrastive, part.contrastive)
    torch.testing.assert_close(whole.refinement, part.refinement)


def test_batch_where_every_row_lacks_rgb_and_text_trains_on_labels() -> None:
    task = make_task()
    losses = task(make_batch(masked=tuple(range(8)))).losses
    losses.total.backward()
    assert losses.total == losses.classification
    assert all(torch.isfinite(p.grad).all() for p in task.parameters() if p.grad is not None)


def test_model_keeps_no_trace_of_the_method() -> None:
    names = make_task().model.state_dict().keys()
    assert all(name.startswith(("backbone.", "classifier.")) for name in names)


def test_missing_rgb_or_text_says_what_to_load() -> None:
    batch = make_batch()
    with pytest.raises(ValueError, match="load an rgb variant"):
        make_task()(dataclasses.replace(batch, rgb=None))
    with pytest.raises(ValueError, match="load a text variant"):
        make_task()(dataclasses.replace(batch, text=None))


class Exchange:
    """Rows of two processes, played by threads: gathers with gradients to both, as all_gather does."""

    def __init__(self) -> None:
        self.barrier = threading.Barrier(2)
        self.slots: list[Tensor | None] = [None, None]

    def gather_for(self, rank: int):
        def gather(rows: Tensor) -> Tensor:
            self.slots[rank] = rows
            self.barrier.wait()
            both = torch.cat([slot for slot in self.slots if slot is not None])
            self.barrier.wait()
            return both

        return gather


@pytest.mark.parametrize("masked", [(), (0, 1, 2, 5)])
def test_two_processes_with_half_the_batch_equal_one_with_the_whole(masked: tuple[int, ...]) -> None:
    batch, exchange = make_batch(masked=masked), Exchange()
    one = make_task()
    one(batch).losses.total.backward()
    tasks = [make_task(gather=exchange.gather_for(rank)) for rank in range(2)]
    outputs: list = [None, None]

    def run(rank: int) -> None:
        outputs[rank] = tasks[rank](take(batch, torch.arange(4) + 4 * rank)).losses

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    [t.start() for t in threads]
    [t.join() for t in threads]
    # Both graphs hang together, so one backward of the mean gives each copy the gradient that averaging would.
    (sum(losses.total for losses in outputs) / 2).backward()
    torch.testing.assert_close(outputs[0].contrastive, outputs[1].contrastive)
    for whole, *halves in zip(one.parameters(), *(t.parameters() for t in tasks), strict=True):
        torch.testing.assert_close(whole.grad, sum(half.grad for half in halves))


def test_task_compiles_to_one_graph() -> None:
    task, batch = make_task(), make_batch(masked=(2,))
    explained = torch._dynamo.explain(task)(batch)
    assert explained.graph_break_count == 0


def test_cnn_in_the_loop_is_trained_with_the_alignment() -> None:
    cnn = nn.Sequential(nn.Flatten(), nn.Linear(12, 10))

    class Seen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cnn = cnn

        def forward(self, images: Tensor) -> Tensor:
            return self.cnn(images.double() / 255)

    task = make_task(cnn=Seen())
    images = torch.randint(
        0, 256, (8, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )
    task(dataclasses.replace(make_batch(), images=images, rgb=None)).losses.total.backward()
    assert cnn[1].weight.grad is not None and cnn[1].weight.grad.any()
    with pytest.raises(ValueError, match="wants them"):
        task(make_batch())
