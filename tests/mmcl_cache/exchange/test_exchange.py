"""What people computed before goes into a cache and comes out again unchanged."""

from __future__ import annotations

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mmcl_cache.cli import main
from mmcl_cache.datasets.import_ctrgcn import order_ids
from mmcl_cache.store import open_cache, verify

# Two subjects of the training half (1, 2) and two of the other (3, 6), two actions each.
IDS = [f"S001C00{c}P00{p}R001A00{a}" for c in (1, 2) for p in (1, 2, 3, 6) for a in (1, 4)]


def run(*words: object) -> Result:
    return CliRunner().invoke(main, [str(w) for w in words], catch_exceptions=False)


def make_clip(sample_id: str) -> np.ndarray:
    """(T, M, 25, 3), everything from the id."""
    rng = np.random.default_rng(IDS.index(sample_id))
    return rng.standard_normal((20 + IDS.index(sample_id), 1 + IDS.index(sample_id) % 2, 25, 3)).astype(
        np.float32
    )


@pytest.fixture
def npz(tmp_path: Path) -> Path:
    """A CTR-GCN file of IDS, and names.txt beside it."""
    arrays = {}
    for split, names in order_ids(IDS, "xsub", 60).items():
        x = np.zeros((len(names), 300, 2, 25, 3), dtype=np.float32)
        y = np.zeros((len(names), 60))
        for n, sample_id in enumerate(names):
            clip = make_clip(sample_id)
            x[n, : len(clip), : clip.shape[1]] = clip
            y[n, int(sample_id[-3:]) - 1] = 1
        arrays |= {f"x_{split}": x.reshape(len(names), 300, 150), f"y_{split}": y}
    path = tmp_path / "NTU60_CS.npz"
    np.savez(path, **arrays)
    (tmp_path / "names.txt").write_text("\n".join(IDS))
    return path


@pytest.fixture
def pkl(tmp_path: Path) -> Path:
    """A pyskl file of IDS."""
    annotations = [
        {
            "frame_dir": i,
            "label": int(i[-3:]) - 1,
            "total_frames": len(make_clip(i)),
            "keypoint": np.moveaxis(make_clip(i), 1, 0),
        }
        for i in IDS
    ]
    split = {
        "xsub_train": [i for i in IDS if i[9:12] in ("001", "002")],
        "xsub_val": [i for i in IDS if i[9:12] in ("003", "006")],
    }
    path = tmp_path / "ntu60_3danno.pkl"
    path.write_bytes(pickle.dumps({"split": split, "annotations": annotations}, protocol=4))
    return path


def test_ctrgcn_file_comes_back_the_same(npz: Path, tmp_path: Path) -> None:
    cache, again = tmp_path / "cache", tmp_path / "again.npz"
    done = run("import", npz, "--cache", cache, "--names", tmp_path / "names.txt", "--protocol", "xsub")
    assert done.exit_code == 0, done.output
    opened = open_cache(cache)
    assert opened.description.dataset == "ntu60" and opened.description.layout.name == "ntu25"
    assert len(opened.samples.select("xsub", "train")) == len(opened.samples.select("xsub", "test")) == 8
    assert verify(opened) == []
    stored = opened.field("skeleton").load(IDS)
    for n, sample_id in enumerate(IDS):
        np.testing.assert_array_equal(stored["joints"][n], make_clip(sample_id).reshape(-1, 25, 3))
    assert run("export", cache, "--format", "ctrgcn", "--out", again).exit_code == 0
    with np.load(npz) as one, np.load(again) as two:
        assert sorted(one.files) == sorted(two.files)
        for name in one.files:
            np.testing.assert_array_equal(one[name], two[name])


def test_pyskl_file_comes_back_the_same(pkl: Path, tmp_path: Path) -> None:
    cache, again = tmp_path / "cache", tmp_path / "again.pkl"
    assert run("import", pkl, "--cache", cache).exit_code == 0
    assert open_cache(cache).description.layout.name == "ntu25-hands"
    assert run("export", cache, "--format", "pyskl", "--out", again).exit_code == 0
    one, two = (pickle.loads(path.read_bytes()) for path in (pkl, again))
    assert {k: sorted(v) for k, v in one["split"].items()} == {k: sorted(v) for k, v in two["split"].items()}
    for a, b in zip(
        sorted(one["annotations"], key=lambda x: x["frame_dir"]), two["annotations"], strict=True
    ):
        assert {k: v for k, v in a.items() if k != "keypoint"} == {
            k: v for k, v in b.items() if k != "keypoint"
        }
        np.testing.assert_array_equal(a["keypoint"], b["keypoint"])


def test_names_that_cannot_be_rebuilt_are_refused_with_the_counts(npz: Path, tmp_path: Path) -> None:
    done = run("import", npz, "--cache", tmp_path / "cache")
    assert done.exit_code == 2 and "8 train and 8 test rows" in done.output and "40,091/16,487" in done.output
    assert not (tmp_path / "cache").exists()


def test_import_goes_on_where_it_was_stopped_and_refuses_another_file(
    npz: Path, pkl: Path, tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    words = ["import", npz, "--cache", cache, "--names", tmp_path / "names.txt", "--protocol", "xsub"]
    run(*words)
    marker = cache / "skeleton" / "default" / "00000.json"
    before = (cache / "skeleton" / "default" / "00000.h5").read_bytes()
    marker.unlink()
    assert run(*words).exit_code == 0
    assert (cache / "skeleton" / "default" / "00000.h5").read_bytes() == before
    other = run("import", pkl, "--cache", cache)
    assert other.exit_code == 2 and "planned otherwise" in other.output


def test_published_text_features_and_strips_join_on_the_sample_id(npz: Path, tmp_path: Path) -> None:
    cache, texts, strips = tmp_path / "cache", tmp_path / "texts", tmp_path / "strips"
    run("import", npz, "--cache", cache, "--names", tmp_path / "names.txt", "--protocol", "xsub")
    for folder in (texts, strips):
        folder.mkdir()
    for n, sample_id in enumerate(reversed(IDS[:-1])):
        np.save(texts / f"{sample_id}.npy", np.asarray([[30522, 2748 + n, 102]]))
        image = io.BytesIO()
        Image.new("RGB", (480, 480), (n, 40, 80)).save(image, "JPEG")
        (strips / f"{sample_id}.jpg").write_bytes(image.getvalue())
    np.save(texts / "S017C003P020R002A054.npy", np.asarray([1, 2, 3]))
    (strips / f"{IDS[0]}.jpg").write_bytes(b"no image")
    done = run("import", texts, "--field", "text", "--cache", cache)
    assert done.exit_code == 0 and "1 files are named after no sample" in done.output
    assert run("import", strips, "--field", "strip", "--cache", cache).exit_code == 0
    opened = open_cache(cache)
    text, strip = opened.field("text").load(IDS), opened.field("strip").load(IDS)
    assert text.status.tolist() == ["ok"] * 15 + ["absent"]
    assert strip.status.tolist() == ["failed"] + ["ok"] * 14 + ["absent"]
    expected = [[[30522, 2748 + n, 102]] for n in range(14, -1, -1)]
    assert text["tokens"][:15].tolist() == expected
    assert strip["jpeg"][3].tobytes() == (strips / f"{IDS[3]}.jpg").read_bytes()
    assert verify(opened) == []


class _Trap:
    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("trap-was-run"),))


@pytest.mark.parametrize(
    ("name", "content", "words", "message"),
    [
        ("a.pkl", pickle.dumps({"split": {}, "annotations": [_Trap()]}), [], "a.pkl"),
        ("a.pkl", b"\x80\x04K\x01.", ["--protocol", "xsub"], "leave the options out"),
        ("a.npz", b"not a zip", [], "a.npz"),
        ("a.txt", b"", [], "neither .npz"),
        ("gone.npz", None, [], "gone.npz"),
        ("a.npz", b"", ["--names", "a.npz"], "holds no ids"),
        ("a.npz", b"", ["--field", "text"], "no cache at cache"),
        ("a.npz", b"", ["--field", "strip", "--layout", "ntu25"], "belong to skeletons"),
    ],
)
def test_what_cannot_be_imported_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    content: bytes | None,
    words: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path(name).write_bytes(content)
    done = run("import", name, "--cache", "cache", *words)
    assert done.exit_code == 2 and message in done.output and "Traceback" not in done.output, done.output
    assert len(done.output.strip().splitlines()) == 1
    assert not Path("trap-was-run").exists()


def test_plan_tells_what_a_build_would_meet_and_writes_nothing(generated_clips: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    done = run("plan", "--dataset", "demo", "--source", generated_clips, "--shard-size", 5)
    assert done.exit_code == 0 and "14 samples: 14 with video and skeleton" in done.output
    assert "3 shards a field" in done.output and sorted(tmp_path.rglob("*")) == before
