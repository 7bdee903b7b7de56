"""Streams: bones, motion and their k-hop variants."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.data.streams import STREAMS, apply_stream, find_ancestors, find_stream
from tests.mmcl_train.data.plain_clips import plain_stream

NTU = LAYOUTS["ntu25"]


def joints(frames: int = 6, layout_name: str = "ntu25") -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    joints_NCTVM = torch.randn(
        2, 3, frames, LAYOUTS[layout_name].num_joints, 2, generator=generator, dtype=torch.float64
    )
    joints_NCTVM[1, ..., 1] = 0
    return joints_NCTVM


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("layout_name", ["ntu25", "nw-ucla20"])
def test_every_stream_equals_the_plain_loops(name: str, layout_name: str) -> None:
    x, layout = joints(layout_name=layout_name), LAYOUTS[layout_name]
    plain = [plain_stream(sample.numpy(), layout, STREAMS[name].hops, STREAMS[name].motion) for sample in x]
    torch.testing.assert_close(
        apply_stream(x, name, layout), torch.stack([torch.from_numpy(p) for p in plain])
    )


def test_bone_of_centre_joint_is_zero() -> None:
    assert not apply_stream(joints(), "bone", NTU)[:, :, :, NTU.centre].any()


def test_two_hop_bone_of_a_joint_near_the_centre_is_the_joint_itself() -> None:
    x = joints()
    assert torch.equal(apply_stream(x, "bone2", NTU)[:, :, :, NTU.centre], x[:, :, :, NTU.centre])
    assert find_ancestors(NTU, 2)[7] == NTU.parents[NTU.parents[7]]


def test_last_frame_of_motion_is_zero() -> None:
    assert not apply_stream(joints(), "joint_motion", NTU)[:, :, -1].any()


def test_motion_of_a_single_frame_is_zero() -> None:
    assert not apply_stream(joints(frames=1), "bone_motion", NTU).any()


@pytest.mark.parametrize("name", STREAMS)
def test_absent_body_stays_zero_in_every_stream(name: str) -> None:
    assert not apply_stream(joints(), name, NTU)[1, ..., 1].any()


def test_unknown_stream_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="known: joint, bone, joint_motion"):
        find_stream("velocity")
