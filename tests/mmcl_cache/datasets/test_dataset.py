from __future__ import annotations

from dataclasses import replace

import pytest

from mmcl_cache.datasets.dataset import CROP_RESIZE, Dataset, Sample, every_body
from mmcl_cache.datasets.import_clips import refuse_to_read
from mmcl_cache.errors import SourceError
from mmcl_cache.store import LAYOUTS

SOUND = Dataset(
    name="mine",
    classes=("jump", "wave"),
    two_person=(),
    layout=LAYOUTS["coco17"],
    num_bodies=1,
    channels=3,
    clip=CROP_RESIZE,
    samples=(Sample("a", 0), Sample("b", 1)),
    splits={"xsub": {"a": "train", "b": "test"}},
    read=refuse_to_read,
    clean=every_body,
    settings={},
)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"samples": (Sample("a", 0), Sample("a", 1))}, "sample id 'a' is there twice"),
        ({"samples": (Sample("b", 0), Sample("a", 1))}, "'a' comes after 'b'"),
        ({"samples": (Sample("a", 2),)}, "sample 'a' has label 2, but there are 2 classes"),
        ({"splits": {"xsub": {"a": "dev"}}}, r"protocol 'xsub' has the splits \['dev'\]; known: train, test"),
    ],
)
def test_contradiction_is_refused_where_the_data_set_is_made(change: dict[str, object], message: str):
    with pytest.raises(SourceError, match=message):
        replace(SOUND, **change)
