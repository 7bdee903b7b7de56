"""What there is to say of every registered backbone, in a table of text."""

from __future__ import annotations

from mmcl_train.backbones import BACKBONES, Backbone
from mmcl_train.backbones.sizes import Size

# As `measure_size` counts them: layout ntu25, 64 frames, two bodies, 120 classes, the published width. Written
# down because counting all of them takes seconds; a test counts again.
SIZES: dict[str, Size] = {
    "aagcn": Size(3_797_088, 4_145_897_344),
    "agcn": Size(3_484_930, 4_140_270_720),
    "blockgcn": Size(1_388_440, 1_988_352_000),
    "ctrgcn": Size(1_462_092, 1_779_711_520),
    "ctrsgcn": Size(2_108_322, 2_526_958_720),
    "degcn": Size(1_411_594, 1_903_242_240),
    "dgstgcn": Size(1_716_592, 1_606_041_600),
    "dynamicgcn": Size(3_764_365, 2_488_264_536),
    "hdgcn": Size(1_675_400, 1_782_440_128),
    "hdgcn_com1": Size(1_675_400, 1_782_440_128),
    "hdgcn_com2": Size(1_675_400, 1_782_440_128),
    "infogcn": Size(1_572_227, 1_814_187_392),
    "mggcn": Size(3_049_933, 3_633_357_312),
    "msg3d": Size(3_217_695, 5_929_783_680),
    "mstgcn": Size(2_918_291, 3_671_640_960),
    "protogcn": Size(4_207_704, 3_557_891_328),
    "psumnet": Size(1_463_838, 1_785_400_720),
    "psumnet_hand": Size(993_902, 604_758_480),
    "psumnet_leg": Size(515_318, 266_043_792),
    "shiftgcn": Size(708_527, 761_477_120),
    "stgcn": Size(3_114_252, 3_601_240_320),
    "stgcnpp": Size(1_418_564, 1_826_782_720),
    "tdgcn": Size(1_387_856, 1_965_899_920),
}


def describe_clip_rule(backbone: type[Backbone]) -> str:
    """Clip lengths T that it takes, in words."""
    parts = [f"T >= {backbone.min_clip_length}" if backbone.min_clip_length > 1 else "any T"]
    if backbone.clip_multiple > 1:
        parts.append(f"a multiple of {backbone.clip_multiple}")
    if backbone.fixed_clip_length:
        parts.append("at run time the T it was built for")
    return ", ".join(parts)


def describe_backbones() -> list[str]:
    """A heading, and one line a backbone: name, publication, year, millions of parameters, GMAC, clip rule."""
    lines = [
        "T=64, M=2, 120 classes, NTU's 25 joints; MACs as computed here",
        f"{'name':<13} {'year':<5} {'params M':>8} {'GMAC':>6}  {'clips':<42} publication",
    ]
    for name, backbone in sorted(BACKBONES.items()):
        size = SIZES[name]
        lines.append(
            f"{name:<13} {backbone.year:<5} {size.parameters / 1e6:>8.2f} {size.macs / 1e9:>6.2f}  "
            f"{describe_clip_rule(backbone):<42} {backbone.publication}"
        )
    return lines
