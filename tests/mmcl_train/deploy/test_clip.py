from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from mmcl_cache.store import LAYOUTS
from mmcl_train.data.clips import ClipSettings, create_transform
from mmcl_train.data.recordings import Recordings
from mmcl_train.data.streams import STREAMS, apply_stream
from mmcl_train.deploy import clip
from mmcl_train.deploy.model_input import ModelInput, parse_input
from tests.mmcl_train.deploy.small_run import describe


def model_input(layout: str = "ntu25", **changes: object) -> ModelInput:
    return dataclasses.replace(parse_input(describe(layout).to_json(), "a test"), **changes)


def batch_clip(joints: np.ndarray, model: ModelInput) -> np.ndarray:
    """(C, T, V, M) as the batches of training cut and show it."""
    frames, bodies = joints.shape[:2]
    flat = torch.cat((torch.from_numpy(joints).flatten(0, 1), torch.zeros(1, *joints.shape[2:])))
    settings = ClipSettings(transform=model.transform, length=model.length, test_crop=model.test_crop)
    transform = create_transform(settings, model.num_bodies, model.joint_channels, frames, "cpu")
    one = Recordings(flat, torch.tensor([0]), torch.tensor([frames]), torch.tensor([bodies]))
    made_NCTMV = transform(one, None)
    return apply_stream(made_NCTMV.transpose(3, 4), model.stream, model.layout)[0].numpy()


@pytest.mark.parametrize("frames", [1, 2, 3, 15, 16, 17, 64, 299])
@pytest.mark.parametrize("layout", ["ntu25", "nw-ucla20"])
def test_clip_of_numpy_is_that_of_the_batches(layout: str, frames: int) -> None:
    model = model_input(layout)
    for bodies in range(1, model.num_bodies + 1):
        rng = np.random.default_rng(frames)
        joints = rng.normal(0, 1, (frames, bodies, model.layout.num_joints, 3)).astype(np.float32)
        np.testing.assert_allclose(clip.make_clip(joints, model), batch_clip(joints, model), atol=1e-6)


@pytest.mark.parametrize("stream", STREAMS)
def test_every_stream_is_that_of_the_batches(stream: str) -> None:
    joints = np.random.default_rng(0).normal(0, 1, (30, 2, 25, 3)).astype(np.float32)
    model = model_input(stream=stream)
    np.testing.assert_allclose(clip.make_clip(joints, model), batch_clip(joints, model), atol=1e-6)


def test_an_axis_along_which_nothing_extends_is_zero() -> None:
    joints = np.random.default_rng(0).normal(0, 1, (9, 1, 20, 3)).astype(np.float32)
    joints[..., 2] = 3.5
    model = model_input("nw-ucla20")
    assert not clip.make_clip(joints, model)[2].any()
    np.testing.assert_allclose(clip.make_clip(joints, model), batch_clip(joints, model), atol=1e-6)


def test_bodies_beyond_those_of_the_model_are_left_out() -> None:
    joints = np.random.default_rng(0).normal(0, 1, (9, 3, 25, 3)).astype(np.float32)
    model = model_input(num_bodies=1)
    assert clip.make_clip(joints, model).shape == (3, 16, LAYOUTS["ntu25"].num_joints, 1)
