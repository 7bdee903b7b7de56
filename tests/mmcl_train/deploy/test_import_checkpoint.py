"""Published checkpoints become models of ours, or one line says why not."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result
from torch import Tensor

from mmcl_cache.store import LAYOUTS
from mmcl_train.backbones.published import export_published, own_tensors
from mmcl_train.cli import cli
from mmcl_train.deploy.import_checkpoint import Asked, import_checkpoint
from mmcl_train.deploy.recognise import Sizes, create_filled
from mmcl_train.engine.model_file import read_about, read_model
from mmcl_train.method.model import SkeletonModel
from tests.mmcl_train.backbones import golden as harness
from tests.mmcl_train.engine.learnable_cache import make_cache
from tests.mmcl_train.method import golden_task

WIDTH = 0.125


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["import-checkpoint", *(str(argument) for argument in arguments)])


def make_model(
    backbone: str, *, classes: int = 7, layout: str = "ntu25", bodies: int = 2, seed: int = 0
) -> SkeletonModel:
    """A small model with no value at its initial one."""
    torch.manual_seed(seed)
    model = create_filled(backbone, Sizes(LAYOUTS[layout], bodies, 16, 3, WIDTH), classes)
    with torch.no_grad():
        for tensor in model.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(0.1 * torch.rand(tensor.shape) + 0.5)
    return model.eval()


def export(model: SkeletonModel) -> dict[str, Tensor]:
    """The model under its publication's names; where parts differ in size, as one file of ours cannot tell."""
    named = export_published(own_tensors(model), model.backbone.published_rules)
    return {name: value.detach().clone() for name, value in named.items()}


def save(state: object, path: Path) -> Path:
    torch.save(state, path)
    return path


def refused(file: Path, out: Path, asked: Asked) -> str:
    """The line that a checkpoint is refused with; nothing is written."""
    with pytest.raises(Exception) as caught:
        import_checkpoint(file, asked, out)
    line = str(caught.value)
    assert "\n" not in line and str(file) in line and not out.exists()
    return line


# Through the command, with values of the published code.


def import_golden(file: Path, out: Path, backbone: str, golden: harness.Golden) -> SkeletonModel:
    result = call(
        file, "--backbone", backbone, "--clip-length", golden.meta["shape"][2], "--out", out,
        "--num-classes", golden.meta["classes"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    return read_model(out)[0].double()


@pytest.mark.parametrize(
    ("backbone", "prefix"), [("ctrgcn", ""), ("ctrgcn", "module."), ("stgcnpp", ""), ("infogcn", "module.")]
)
def test_checkpoint_under_published_names_gives_the_published_logits(
    backbone: str, prefix: str, shared: Path, tmp_path: Path
) -> None:
    golden = harness.load_golden(backbone)
    state = {prefix + name: value for name, value in harness.published_state(golden).items()}
    content = {"meta": {"epoch": 16, "best": np.float64(0.9)}, "state_dict": state} if prefix else state
    model = import_golden(save(content, tmp_path / "published.pt"), tmp_path / "out", backbone, golden)
    with torch.no_grad():
        logits = model(harness.make_input(golden).double())
    harness.assert_close(logits, golden.values["logits"], 1e-6, "logits")


def test_released_checkpoint_of_the_method_leaves_its_cnn_aside(shared: Path, tmp_path: Path) -> None:
    folder = shared / "golden"
    meta, values = golden_task.load_values(folder)
    state = golden_task.released_state(folder, meta)
    state |= {"inception_v3.Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 3, 3)}
    file = save({f"module.{name}": value for name, value in state.items()}, tmp_path / "mmcl.pt")
    out = tmp_path / "out"
    result = call(file, "--backbone", "ctrgcn", "--clip-length", meta["shape"][2], "--out", out)
    assert result.exit_code == 0, result.output
    model, about = read_model(out)
    assert not [name for name in model.state_dict() if "inception" in name or "mlp" in name]
    assert len(about.classes) == 120
    model = model.double().train()  # the reference has the training's logits
    logits = model(golden_task.released_batch(folder, meta, values).joints)
    harness.assert_close(logits, values["logits"], 1e-6, "logits")


# Round trips with weights of our own.


@pytest.mark.parametrize("backbone", ["ctrgcn", "agcn", "stgcn", "hdgcn", "mggcn", "psumnet_leg"])
def test_exported_names_import_to_the_same_model(backbone: str, tmp_path: Path) -> None:
    model = make_model(backbone)
    file = save(export(model), tmp_path / "exported.pth")
    import_checkpoint(file, Asked(backbone, clip_length=16, width=WIDTH), tmp_path / "out")
    again, about = read_model(tmp_path / "out")
    assert about.backbone == backbone and about.classes == tuple("0123456")
    for name, value in model.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name


def test_one_body_is_found_out(tmp_path: Path) -> None:
    file = save(export(make_model("ctrgcn", bodies=1, layout="nw-ucla20")), tmp_path / "ucla.pt")
    import_checkpoint(file, Asked("ctrgcn", layout="nw-ucla20", width=WIDTH), tmp_path / "out")
    assert read_about(tmp_path / "out").num_bodies == 1


def test_imported_model_is_evaluated_on_a_cache(tmp_path: Path) -> None:
    cache = make_cache(tmp_path / "cache", co_learning=False)
    about = cache.description
    model = make_model("ctrgcn", classes=about.num_classes, layout=about.layout.name, bodies=about.num_bodies)
    file = save(export(model), tmp_path / "one.pt")
    for name, source in (("numbered", None), ("named", cache.path)):
        asked = Asked("ctrgcn", layout=about.layout.name, cache=source, clip_length=16, width=WIDTH)
        import_checkpoint(file, asked, tmp_path / name)
        done = CliRunner().invoke(
            cli, ["eval", "--run", str(tmp_path / name), "--cache", str(cache.path), "--device", "cpu"]
        )
        assert done.exit_code == 0 and "top-1" in done.output, done.output
    assert read_about(tmp_path / "named").classes == about.classes
    done = CliRunner().invoke(cli, ["eval", "--run", str(tmp_path / "numbered")])
    assert done.exit_code == 2 and "--cache" in done.stderr


# What does not fit.


def test_checkpoint_of_another_backbone_is_named(tmp_path: Path) -> None:
    file = save(export(make_model("tdgcn")), tmp_path / "td.pt")
    line = refused(file, tmp_path / "out", Asked("ctrgcn", width=WIDTH))
    assert "--backbone tdgcn" in line and "missing" in line


def test_checkpoint_of_another_class_count_says_both(tmp_path: Path) -> None:
    file = save(export(make_model("ctrgcn", classes=60)), tmp_path / "sixty.pt")
    line = refused(file, tmp_path / "out", Asked("ctrgcn", num_classes=120, width=WIDTH))
    assert "60 classes" in line and "--num-classes 120" in line


def test_checkpoint_of_another_layout_says_which_fits(tmp_path: Path) -> None:
    file = save(export(make_model("ctrgcn", layout="coco17")), tmp_path / "coco.pt")
    line = refused(file, tmp_path / "out", Asked("ctrgcn", width=WIDTH))
    assert "--layout coco17 --num-bodies 2" in line and "of another shape" in line


def test_tensors_of_no_backbone_are_told(tmp_path: Path) -> None:
    file = save({"layer1.0.conv1.weight": torch.zeros(3)}, tmp_path / "resnet.pt")
    assert "no registered backbone" in refused(file, tmp_path / "out", Asked("ctrgcn", width=WIDTH))


def test_missing_and_left_over_tensors_are_named(tmp_path: Path) -> None:
    state = export(make_model("ctrgcn"))
    state["extra.weight"] = state.pop("l3.gcn1.alpha")
    line = refused(save(state, tmp_path / "odd.pt"), tmp_path / "out", Asked("ctrgcn", width=WIDTH))
    assert "missing: l3.gcn1.alpha" in line and "not known: extra.weight" in line


class Trap:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return print, ("the file ran code",)


def test_file_that_needs_pickle_is_refused_and_not_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"state_dict": export(make_model("stgcn")), "trap": Trap()}
    line = refused(save(state, tmp_path / "trap.pt"), tmp_path / "out", Asked("stgcn"))
    assert "run code of the file (" in line and "state_dict()" in line
    assert "ran code" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut short", pickle.dumps({"a": 1})])
def test_file_that_is_no_checkpoint_is_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "letter.pt"
    file.write_bytes(content)
    refused(file, tmp_path / "out", Asked("ctrgcn"))


def test_wrong_options_are_one_line_and_exit_code_2(tmp_path: Path) -> None:
    file = save(export(make_model("stgcn")), tmp_path / "one.pt")
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter").touch()
    for options, said in (
        (["--backbone", "resnet", "--out", tmp_path / "out"], "ctrgcn"),
        (["--backbone", "stgcn", "--layout", "dog", "--out", tmp_path / "out"], "nw-ucla20"),
        (["--backbone", "stgcn", "--stream", "flow", "--out", tmp_path / "out"], "bone_motion"),
        (["--backbone", "stgcn", "--out", full], "not empty"),
    ):
        result = call(file, *options)
        assert result.exit_code == 2 and said in result.stderr and result.stderr.count("\n") == 1
    result = call(tmp_path / "none.pt", "--backbone", "stgcn", "--out", tmp_path / "out")
    assert result.exit_code == 2 and "no such checkpoint file" in result.stderr
