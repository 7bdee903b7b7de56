"""PSUMNet's parts and its stacked streams."""

from __future__ import annotations

import pytest
import torch

from mmcl_cache.store import LAYOUTS, Layout
from mmcl_train.backbones.body_parts import find_part
from mmcl_train.backbones.psumnet import PSUMNet, PSUMNetHand, PSUMNetLeg, stack_streams

from .golden import Model

HAND = (20, 4, 5, 6, 7, 21, 22, 8, 9, 10, 11, 23, 24)
LEG = (0, 12, 13, 14, 15, 16, 17, 18, 19)


def joints(layout: str = "ntu25", frames: int = 6) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, frames, LAYOUTS[layout].num_joints, 2, generator=generator)


def test_streams_stand_as_joint_bone_joint_motion_bone_motion() -> None:
    x = joints(frames=3)
    ends = torch.tensor(find_part(LAYOUTS["ntu25"], "body").bone_ends)
    joint, bone, joint_motion, bone_motion = stack_streams(x, ends).split(3, dim=1)
    assert torch.equal(joint, x)
    assert torch.equal(bone[:, :, :, 3], x[:, :, :, 3] - x[:, :, :, 2])
    assert not bone[:, :, :, 20].any()
    for motion, still in ((joint_motion, joint), (bone_motion, bone)):
        assert torch.equal(motion[:, :, 1], still[:, :, 2] - still[:, :, 1])
        assert not motion[:, :, 2].any()


def test_stacked_input_and_joints_give_the_body_the_same_features() -> None:
    torch.manual_seed(0)
    of_joints = PSUMNet(layout=LAYOUTS["ntu25"], width=0.25).eval()
    stacked = PSUMNet(layout=LAYOUTS["ntu25"], in_channels=12, width=0.25).eval()
    stacked.load_state_dict(of_joints.state_dict())
    x = joints()
    with torch.no_grad():
        assert torch.equal(of_joints(x), stacked(stack_streams(x, of_joints.bone_ends)))


@pytest.mark.parametrize(("part", "chosen"), [("hand", HAND), ("leg", LEG)])
@pytest.mark.parametrize("layout", ["ntu25", "ntu25-hands"])
def test_ntu_parts_are_the_published_joints_in_the_published_order(
    part: str, chosen: tuple[int, ...], layout: str
) -> None:
    assert find_part(LAYOUTS[layout], part).joints == chosen


def test_ntu_hand_tip_hangs_on_the_hand_whatever_the_layout_says() -> None:
    part = find_part(LAYOUTS["ntu25"], "hand")
    tip, hand = part.joints.index(21), part.joints.index(7)
    assert part.bone_ends[tip] == hand


def test_ntu_legs_hang_as_published() -> None:
    part = find_part(LAYOUTS["ntu25"], "leg")
    # The left foot's bone starts at the base, the right hip's at the left foot, the right foot has none.
    assert part.bone_ends == (0, 0, 1, 2, 0, 4, 5, 6, 8)


@pytest.mark.parametrize("part", ["hand", "leg"])
@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"ntu25", "ntu25-hands"}))
def test_parts_of_other_layouts_hang_as_in_the_layout(layout: str, part: str) -> None:
    whole, found = LAYOUTS[layout], find_part(LAYOUTS[layout], part)
    assert len(found.joints) >= 7
    for child, parent in found.links:
        assert whole.parents[found.joints[child]] == found.joints[parent]


def test_other_joints_do_not_matter_to_a_part() -> None:
    torch.manual_seed(0)
    backbone = PSUMNetLeg(layout=LAYOUTS["ntu25"], width=0.25).eval()
    x = joints()
    moved = x.clone()
    moved[:, :, :, [v for v in range(25) if v not in LEG]] += 1.0
    with torch.no_grad():
        assert torch.equal(backbone(x), backbone(moved))


def test_layout_without_limbs_is_refused_by_name() -> None:
    chain = Layout("chain", tuple("abcdefghijk"), (0, *range(10)), 0)
    with pytest.raises(ValueError, match=r"'chain' has no joints of the part 'leg'"):
        PSUMNetLeg(layout=chain)
    with pytest.raises(ValueError, match="known: body, hand, leg"):
        find_part(chain, "head")


@pytest.mark.parametrize(
    ("part", "count"), [(PSUMNet, 1_463_838), (PSUMNetHand, 993_902), (PSUMNetLeg, 515_318)]
)
def test_parameter_counts_are_those_of_the_released_models(part: type[PSUMNet], count: int) -> None:
    with torch.device("meta"):
        model = Model(part(layout=LAYOUTS["ntu25"]), 120)
    assert sum(parameter.numel() for parameter in model.parameters()) == count
