"""The backbones by name. One file a family; register a class here and the contract tests run on it."""

from __future__ import annotations

from mmcl_cache.store import Layout
from mmcl_train.backbones.agcn import AAGCN, AGCN
from mmcl_train.backbones.base import Backbone
from mmcl_train.backbones.blockgcn import BlockGCN
from mmcl_train.backbones.ctrgcn import CTRGCN, CTRSGCN
from mmcl_train.backbones.degcn import DeGCN
from mmcl_train.backbones.dgstgcn import DGSTGCN
from mmcl_train.backbones.dynamicgcn import DynamicGCN
from mmcl_train.backbones.hdgcn import HDGCN, HDGCNBelly, HDGCNPelvis
from mmcl_train.backbones.infogcn import InfoGCN
from mmcl_train.backbones.mggcn import MGGCN
from mmcl_train.backbones.msg3d import MSG3D
from mmcl_train.backbones.mstgcn import MSTGCN
from mmcl_train.backbones.protogcn import ProtoGCN
from mmcl_train.backbones.psumnet import PSUMNet, PSUMNetHand, PSUMNetLeg
from mmcl_train.backbones.shiftgcn import ShiftGCN
from mmcl_train.backbones.stgcn import STGCN
from mmcl_train.backbones.stgcnpp import STGCNPP
from mmcl_train.backbones.tdgcn import TDGCN

# One line a backbone, by name.
BACKBONES: dict[str, type[Backbone]] = {
    "mggcn": MGGCN,
    "degcn": DeGCN,
    "aagcn": AAGCN,
    "agcn": AGCN,
    "blockgcn": BlockGCN,
    "ctrgcn": CTRGCN,
    "ctrsgcn": CTRSGCN,
    "dgstgcn": DGSTGCN,
    "dynamicgcn": DynamicGCN,
    "hdgcn": HDGCN,
    "hdgcn_com1": HDGCNPelvis,
    "hdgcn_com2": HDGCNBelly,
    "infogcn": InfoGCN,
    "msg3d": MSG3D,
    "mstgcn": MSTGCN,
    "protogcn": ProtoGCN,
    "psumnet": PSUMNet,
    "psumnet_hand": PSUMNetHand,
    "psumnet_leg": PSUMNetLeg,
    "shiftgcn": ShiftGCN,
    "stgcn": STGCN,
    "stgcnpp": STGCNPP,
    "tdgcn": TDGCN,
}


def create_backbone(
    name: str,
    *,
    layout: Layout,
    num_bodies: int = 2,
    clip_length: int = 64,
    in_channels: int = 3,
    width: float = 1.0,
) -> Backbone:
    """Build a backbone by its registered name.

    Args:
        layout: the skeleton's joints and tree.
        num_bodies: M of the clips it will see.
        clip_length: T in frames; most take any T at run time (see the class's clip rule).
        in_channels: C of a joint (3; 2 or 3 for 2-D data; 12 for PSUMNet's stacked streams).
        width: factor on all channel counts; 1 is the published size.

    Raises:
        ValueError: unknown name (the known ones are listed), or sizes the backbone cannot take.
    """
    if name not in BACKBONES:
        raise ValueError(f"unknown backbone {name!r}; known: {', '.join(sorted(BACKBONES))}")
    return BACKBONES[name](
        layout=layout, num_bodies=num_bodies, clip_length=clip_length, in_channels=in_channels, width=width
    )


__all__ = ["BACKBONES", "Backbone", "create_backbone"]
