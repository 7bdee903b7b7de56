"""Every backbone predicts from a raw file what it computes of the clip that a training cuts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from mmcl_cache.store import UserError
from mmcl_train.backbones import BACKBONES
from mmcl_train.data.streams import apply_stream
from mmcl_train.deploy.model_input import parse_input
from mmcl_train.deploy.prediction import predict_paths, predict_stream
from mmcl_train.deploy.recording import clean_joints, read_recording
from mmcl_train.deploy.torch_model import TorchModel
from mmcl_train.engine.model_file import read_model
from tests.mmcl_cache.skeletons.skeleton_text import make_text
from tests.mmcl_train.deploy.small_run import describe, make_run
from tests.mmcl_train.deploy.test_clip import batch_clip
from tests.mmcl_train.deploy.test_prediction import lines_of

PSUMNET = ("psumnet", "psumnet_hand", "psumnet_leg")
CASES = [(name, 3) for name in sorted(BACKBONES)] + [(name, 12) for name in PSUMNET]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people, the second of them for a part of the time."""
    path = tmp_path_factory.mktemp("raw") / "S001C001P001R001A001.skeleton"
    path.write_text(make_text([[7] if n < 4 else [7, 9] for n in range(24)]))
    return path


def stack_of(joints: np.ndarray, model: TorchModel) -> torch.Tensor:
    """What the model is shown, by the batches of training: one stream, or the four one after another."""
    shown = torch.from_numpy(batch_clip(joints, model.input))[None]
    if not model.input.is_stacked:
        return shown
    streams = ("joint", "bone", "joint_motion", "bone_motion")
    return torch.cat([apply_stream(shown, name, model.input.layout) for name in streams], dim=1)


@pytest.mark.parametrize(("backbone", "channels"), CASES)
def test_a_raw_file_and_its_frames_give_the_logits_of_the_training_clip(
    backbone: str, channels: int, recorded: Path, tmp_path: Path
) -> None:
    run = make_run(tmp_path, backbone=backbone, in_channels=channels)
    model = TorchModel(run)
    joints = clean_joints(read_recording(recorded, model.input), model.input)
    with torch.no_grad():
        expected = read_model(run)[0](stack_of(joints, model))[0].numpy()
    (raw,) = predict_paths(model, [recorded], 0, 1)
    (live,) = predict_stream(model, lines_of(recorded), 0, 1)
    largest = np.abs(expected).max()
    assert np.ptp(expected) > 1e-3 * largest
    for answer in (raw, live):
        np.testing.assert_allclose(answer.logits, expected, rtol=0, atol=1e-5 * largest)


def test_four_streams_as_channels_are_those_the_network_makes_itself(recorded: Path, tmp_path: Path) -> None:
    logits = []
    for channels in (3, 12):
        model = TorchModel(make_run(tmp_path / str(channels), backbone="psumnet", in_channels=channels))
        state = read_model(tmp_path / "3")[0].state_dict()
        model.model.load_state_dict(state)
        (answer,) = predict_paths(model, [recorded], 0, 1)
        logits.append(answer.logits)
    np.testing.assert_allclose(logits[0], logits[1], rtol=1e-5)


def test_stacked_streams_of_a_stream_are_refused() -> None:
    about = describe(backbone="psumnet", in_channels=12, stream="bone").to_json()
    with pytest.raises(UserError, match="12 channels are four streams"):
        parse_input(about, "a test")
