"""What a page takes for granted before its first command: data, caches, runs and files, all in miniature."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

from mmcl_cache.datasets import DATASETS
from mmcl_cache.demo.generate import SKELETONS
from mmcl_cache.encoders import Encoder
from mmcl_cache.engines import job
from mmcl_cache.store import open_cache
from mmcl_cache.store.schema import SPLITS
from mmcl_train.backbones import BACKBONES
from mmcl_train.backbones.published import export_published, find_sources, own_tensors
from mmcl_train.method.model import SkeletonModel
from mmcl_train.scores.files import read_scores
from tests.docs import miniature
from tests.docs.examples import load_example, write_example
from tests.docs.pages import find_blocks, read_page
from tests.docs.world import Place, run_line
from tests.mmcl_train.deploy.small_run import describe, make_model, make_run

DATASET_PAGE, BACKBONE_PAGE, QUESTION_PAGE = (
    f"docs/adding-a-{what}.md" for what in ("dataset", "backbone", "question-model")
)
RECORDING = "S001C001P001R001A001.skeleton"


def prepare_readme(place: Place) -> None:
    place.data("data/demo", "data/ntu120", "mine")


def prepare_scale(place: Place) -> None:
    place.data("data/demo")
    miniature.copy_tree(place.world.data("data/ntu120"), place.root / "data" / "ntu")


def prepare_datasets(place: Place) -> None:
    place.data("data/ntu60", "data/nw_ucla", "data/utd_mhad", "data/sysu", "mine")
    write_files_of_others(place)


def write_files_of_others(place: Place) -> None:
    """CTR-GCN's and pyskl's file of NTU-60, the ids they hold, and what MMCL's authors store for each of them."""
    made = place.world.cache("ntu60")
    write_npz(made, Path("NTU60_CS.npz"))
    run_line(f"mmcl-cache export {made} --format pyskl --out ntu60_3danno.pkl")
    write_features(made, Path("text_features"), Path("strips"))


def write_npz(cache: Path, path: Path) -> None:
    """CTR-GCN's file of a cache, and beside it the list of ids that it was made from."""
    run_line(f"mmcl-cache export {cache} --format ctrgcn --protocol xsub --out {path}")
    path.with_suffix(".txt").write_text("\n".join(open_cache(cache).samples.sample_ids.tolist()))


def write_features(path: Path, texts: Path, strips: Path) -> None:
    """Token ids and strips of every sample, a file each."""
    cache = open_cache(path)
    stored = cache.field("strip").load(cache.samples.sample_ids, ("jpeg",))
    for folder in (texts, strips):
        folder.mkdir(parents=True)
    for n, sample_id in enumerate(cache.samples.sample_ids.tolist()):
        np.save(texts / f"{sample_id}.npy", np.array([[30522, 2748 + n % 2, 102]]))
        (strips / f"{sample_id}.jpg").write_bytes(stored["jpeg"][n].tobytes())


def prepare_training(place: Place) -> None:
    place.data("data/utd_mhad")
    place.caches("demo", "ntu120", "nw-ucla")
    run_line("mmcl-cache build --quiet --dataset utd-mhad --source data/utd_mhad --video depth")
    for name, stream in (("a", "joint"), ("b", "bone"), ("c", "joint_motion")):
        place.train("utd-mhad", f"runs/{name}", f"--stream {stream}")
    place.train("utd-mhad", "runs/old")
    write_pickled_scores(place, "runs/b", "old-scores.pkl")
    for n in (1, 2, 3):
        shutil.copytree(place.root / "runs/a", place.root / f"runs/with-{n}")
        shutil.copytree(place.root / "runs/b", place.root / f"runs/without-{n}")


def write_pickled_scores(place: Place, run: str, name: str) -> None:
    """The test scores of a run as the field's code stores them: a pickled dictionary, id → logits."""
    scores = read_scores(place.root / run)
    pairs = zip(scores.sample_ids.tolist(), scores.logits, strict=True)
    (place.root / name).write_bytes(pickle.dumps(dict(pairs)))


def prepare_pages(place: Place) -> None:
    """A cache with a failed row, and three runs from it."""
    place.data("data/demo")
    cut = next((place.root / "data/demo" / SKELETONS).iterdir())
    cut.unlink()  # the file itself is shared
    cut.write_text("100\n1\n")
    run_line("mmcl-cache build --quiet --dataset demo")
    place.train("demo", "runs/mmcl-joint")
    place.train("demo", "runs/mmcl-bone", "--stream bone")
    place.train("demo", "runs/plain-joint", "--no-mmcl")


def prepare_performance(place: Place) -> None:
    place.data("data/demo")
    place.caches("nw-ucla")


def prepare_deploy(place: Place) -> None:
    place.caches("ntu60")
    clips = sorted((place.world.data("data/demo") / SKELETONS).iterdir())
    (place.root / "recordings").mkdir()
    for clip in clips[:2]:
        shutil.copy(clip, place.root / "recordings")
    shutil.copy(clips[0], place.root / RECORDING)
    rng = np.random.default_rng(0)
    np.save(place.root / "long.npy", miniature.walk_about(rng, 25).repeat(4, axis=0)[:, None].swapaxes(0, 1))
    place.train("ntu60", "runs/ntu60")
    run_line("mmcl-train export runs/ntu60 --out model.onnx")


def prepare_backbones(place: Place) -> None:
    place.caches("ntu120")
    write_checkpoint(Path("runs-61-28800.pt"), "ctrgcn", 120)


def write_checkpoint(path: Path, backbone: str, classes: int, layout: str = "ntu25") -> None:
    """A model of published size under its authors' names, with random weights."""
    model = make_model(describe(layout, classes, backbone=backbone, width=1.0))
    named = export_published(
        own_tensors(model),
        model.backbone.published_rules,
        find_shapes(model) if backbone == "stgcnpp" else None,
    )
    torch.save({name: value.detach().clone() for name, value in named.items()}, path)


def find_shapes(model: SkeletonModel) -> dict[str, tuple[int, ...]]:
    """Shapes of the published tensors, where some of ours are fused from uneven branches."""
    own = own_tensors(model)
    shapes: dict[str, tuple[int, ...]] = {}
    for name, source in find_sources(list(own), model.backbone.published_rules).items():
        sizes = [own[name].shape[:1].numel()] * len(source.names)
        if source.rule.combine == "cat" and own[name].ndim:
            sizes = model.backbone.get_submodule(name.rsplit(".", 2)[0]).sizes
        for published, size in zip(source.names, sizes, strict=False):
            shapes[published] = (size, *own[name].shape[1:]) if own[name].ndim else ()
    return shapes


def prepare_transfer(place: Place) -> None:
    place.data("data/utd_mhad", "data/ntu120")
    place.caches("ntu120")
    run_line(
        "mmcl-cache build --dataset ntu120 --source data/ntu120 --cache caches/ntu120 --field text "
        "--variant text=blip --vqa Salesforce/blip-vqa-base --image-size 480"
    )
    place.train("ntu120", "runs/ntu120", "--set data.text_variant=blip")
    make_run(place.root / "demo-run", classes=16)
    place.caches("demo", "utd-mhad")
    place.train("demo", "demo-out/runs/co-learning")
    shown = [
        line for line in read_page("docs/transfer.md").splitlines() if line.startswith('{"classes": {"right')
    ]
    Path("four.json").write_text("\n".join(shown))


def prepare_dataset_example(place: Place) -> None:
    place.data("mine")
    rng = np.random.default_rng(4)
    Path("hands").mkdir()
    lines = ["sample_id,video,skeleton,label,subject,split"]
    for n in range(8):
        np.save(f"hands/c{n:02}.npy", miniature.walk_about(rng, 21).astype(np.float32))
        miniature.write_video(Path(f"hands/c{n:02}.mp4"), rng, 0.5)
        who, split = (("anna", "bert", "carl", "dora")[n % 4], ("train", "train", "train", "test")[n % 4])
        lines.append(f"c{n:02},c{n:02}.mp4,c{n:02}.npy,{('fist', 'point')[n // 4]},{who},{split}")
    Path("clips.csv").write_text("\n".join(lines))
    (layout,) = (text for language, text in find_blocks(read_page(DATASET_PAGE)) if language == "json")
    Path("hand21.json").write_text(layout)
    place.patch.setitem(DATASETS, "kitchen", load_kitchen(place.patch).scan_kitchen)
    Path("data/kitchen").mkdir(parents=True)
    for n, action in enumerate(("pour", "stir", "wipe") * 4):
        name = f"data/kitchen/p{n // 3 + 1:02}_{action}_01"
        np.savetxt(f"{name}.csv", 100 * miniature.walk_about(rng, 20).reshape(-1, 60), delimiter=",")
        miniature.write_video(Path(f"{name}.mp4"), rng, 0.5)


def load_kitchen(patch: pytest.MonkeyPatch) -> ModuleType:
    return load_example(DATASET_PAGE, "mmcl_cache/datasets/kitchen.py", patch)


def prepare_backbone_example(place: Place) -> None:
    place.caches("demo")
    install_plaingcn(place.patch)
    write_checkpoint(Path("authors.pt"), "plaingcn", 16)


def install_plaingcn(patch: pytest.MonkeyPatch) -> None:
    module = load_example(BACKBONE_PAGE, "mmcl_train/backbones/plaingcn.py", patch)
    patch.setitem(BACKBONES, "plaingcn", module.PlainGCN)


def prepare_question_example(place: Place) -> None:
    place.data("data/demo")
    shutil.copytree(place.models["blip"], "models/my-finetuned-blip")
    write_example(QUESTION_PAGE, "ask_elsewhere.py", place.root)
    encoder = load_example(QUESTION_PAGE, "mmcl_cache/encoders/brightness.py", place.patch).BrightnessEncoder
    known = job.open_text_encoder

    def open_text_encoder(model: str, questions: Sequence[str], **options: Any) -> Encoder:
        opened: Encoder = encoder(questions) if model == "brightness" else known(model, questions, **options)
        return opened

    place.patch.setattr(job, "open_text_encoder", open_text_encoder)


def prepare_reproducing(place: Place) -> None:
    place.data("data/ntu60", "data/ntu120", "data/nw_ucla", "data/utd_mhad", "data/sysu")
    write_features(place.world.cache("ntu120"), Path("minigpt4"), Path("not-used"))
    for n, path in enumerate(sorted(Path("minigpt4").iterdir())):
        np.save(path, np.random.default_rng(n).normal(size=12))


def prepare_moving(place: Place) -> None:
    place.data("data/nw_ucla")
    Path("data/ntu120").mkdir()
    write_npz(place.world.cache("ntu120"), Path("data/ntu120/NTU120_CSub.npz"))
    write_features(place.world.cache("ntu120"), Path("output/object"), Path("save_img/ALL_img"))
    write_checkpoint(Path("NTU120-XSub.pt"), "ctrgcn", 120)
    write_checkpoint(Path("runs-61-28800.pt"), "ctrgcn", 60)
    write_checkpoint(Path("j.pth"), "stgcnpp", 60, "ntu25-hands")
    small = place.world.cache("ntu60")
    write_npz(small, Path("NTU60_CS.npz"))
    run_line(f"mmcl-cache export {small} --format pyskl --out ntu60_3danno.pkl")
    write_example("docs/moving.md", "name_scores.py", place.root)
    Path("NTU60_CS.txt").rename("skes_available_name.txt")
    shutil.copy("skes_available_name.txt", "NTU60_CS.txt")
    table = open_cache(small).samples
    count = int((table.splits["xsub"] == SPLITS.index("test")).sum())
    rows = {f"test_{n}": np.random.default_rng(n).normal(size=60).astype(np.float32) for n in range(count)}
    Path("epoch1_test_score.pkl").write_bytes(pickle.dumps(rows))


def prepare_demo(place: Place) -> None:
    place.data("data/demo")


def prepare_faq(place: Place) -> None:
    place.data("data/ntu60", "data/nw_ucla", "mine")


PREPARE: dict[str, Callable[[Place], None]] = {
    "README.md": prepare_readme,
    DATASET_PAGE: prepare_dataset_example,
    BACKBONE_PAGE: prepare_backbone_example,
    QUESTION_PAGE: prepare_question_example,
    "docs/backbones.md": prepare_backbones,
    "docs/building-at-scale.md": prepare_scale,
    "docs/datasets.md": prepare_datasets,
    "docs/deploy.md": prepare_deploy,
    "docs/faq.md": prepare_faq,
    "docs/moving.md": prepare_moving,
    "docs/pages.md": prepare_pages,
    "docs/performance.md": prepare_performance,
    "docs/reproducing.md": prepare_reproducing,
    "docs/terminal.md": prepare_demo,
    "docs/training.md": prepare_training,
    "docs/transfer.md": prepare_transfer,
}
"""Pages that start from something, in their working folder. A page that is not here starts in an empty one."""
