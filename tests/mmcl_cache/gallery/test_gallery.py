from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from mmcl_cache.cli import main
from mmcl_cache.errors import UserError
from mmcl_cache.gallery import GallerySettings, make_gallery, write_gallery
from mmcl_cache.gallery_figures import ABSENT, View, choose_view, make_thumbnail, pack_poses
from mmcl_cache.gallery_page import embed_json, render_question
from mmcl_cache.gallery_rows import Question, spread_over_classes
from mmcl_cache.gallery_statistics import OTHER, mutual_information, tabulate_answers
from mmcl_cache.store import LAYOUTS, Cache
from tests.mmcl_cache.gallery import pictured_cache as made
from tests.mmcl_cache.gallery.browser import needs_chromium, open_page, scroll_width


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Cache:
    return made.make_cache(tmp_path_factory.mktemp("pictured") / "cache")


@pytest.fixture(scope="module")
def page(cache: Cache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "gallery.html"
    write_gallery(cache, path, GallerySettings())
    return path


def data_of(page: Path) -> dict[str, object]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    value: dict[str, object] = json.loads(found[1])
    return value


def test_nothing_from_the_data_becomes_markup(page: Path) -> None:
    text = page.read_text()
    assert text.count("<script") == 2
    assert "alert(" in text and "<img" not in text and "<b onclick" not in text and "<i>made" not in text
    assert "<u>they" not in text and "onerror" in text


def test_page_asks_nothing_of_a_network(page: Path) -> None:
    text = page.read_text()
    assert not re.findall(r"https?://|<[a-z]+ [^>]*src=|href=\"(?!#)|@import|url\(", text)
    assert "default-src 'none'" in text


def test_data_block_gives_every_text_back_as_it_was(page: Path) -> None:
    data = data_of(page)
    samples = {s["id"]: s for s in data["samples"]}  # type: ignore[attr-defined]
    assert sorted(samples) == made.sample_ids()
    answers = {s["answers"][0][0] for s in samples.values() if s["answers"][0]}
    assert answers == {"yes", "no", made.ANSWER}
    assert made.HOSTILE in samples and tuple(data["classes"]) == made.CLASSES  # type: ignore[arg-type]


def test_embedded_json_cannot_end_its_script() -> None:
    text = embed_json(["</script>", "<!--", "]]>", "&amp;", "\u2028"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == ["</script>", "<!--", "]]>", "&amp;", "\u2028"]


def test_probability_is_of_the_choice_and_else_of_all_tokens(page: Path) -> None:
    found = {}
    for sample in data_of(page)["samples"]:  # type: ignore[attr-defined]
        if sample["answers"][0]:
            found[sample["answers"][0][0]] = sample["answers"][0][1]
    assert found == {"yes": 0.9, "no": 0.8, made.ANSWER: 0.25}


def test_rows_that_are_not_ok_are_listed_with_their_reason(page: Path) -> None:
    text = page.read_text()
    assert "no skeleton file" in text and "&lt;img src=x onerror=alert(4)&gt;" in text
    assert "absent or failed" in text


@pytest.mark.parametrize("fields", [(), ("skeleton",), ("strip",), ("text",), ("rgb",), ("strip", "text")])
def test_page_is_made_of_whatever_fields_there_are(fields: tuple[str, ...], tmp_path: Path) -> None:
    cache = made.make_cache(tmp_path / "cache", fields)
    path = tmp_path / "gallery.html"
    write_gallery(cache, path, GallerySettings())
    assert len(data_of(path)["samples"]) == made.SAMPLES  # type: ignore[arg-type]


def test_rows_of_a_shard_that_is_not_built_are_pending(tmp_path: Path) -> None:
    cache = made.make_cache(tmp_path / "cache")
    (cache.path / "text" / "default" / "00001.json").unlink()
    gallery = make_gallery(cache, GallerySettings(status="pending"))
    assert gallery.selected.tolist() == made.sample_ids()[5:10]
    assert {m.name: m.counts["pending"] for m in gallery.missing}["text/default"] == 5


def test_a_strip_that_cannot_be_decoded_leaves_a_gap() -> None:
    assert make_thumbnail(b"no picture") is None


def test_thumbnail_is_a_small_jpeg(page: Path) -> None:
    strip = next(s["strip"] for s in data_of(page)["samples"] if s["strip"])  # type: ignore[attr-defined]
    assert Image.open(io.BytesIO(base64.b64decode(strip))).size == (300, 180)


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        (GallerySettings(samples=("s03", "s01")), 2),
        (GallerySettings(classes=("wave",)), 4),
        (GallerySettings(classes=("0", "2")), 8),
        (GallerySettings(split="xsub:test"), 6),
        (GallerySettings(answer="yes"), 4),
        (GallerySettings(status="failed"), 1),
        (GallerySettings(status="ok"), 10),
        (GallerySettings(classes=("wave",), split="xsub:train"), 2),
    ],
)
def test_selections_leave_what_they_name(cache: Cache, settings: GallerySettings, count: int) -> None:
    assert len(make_gallery(cache, settings).selected) == count


@pytest.mark.parametrize(
    ("option", "value", "says"),
    [
        ("--sample", "s99", "s99"),
        ("--class", "kicking", "wave"),
        ("--split", "test", "xsub:test"),
        ("--split", "xview:test", "xsub"),
        ("--answer", "maybe", "yes"),
        ("--status", "bad", "failed"),
        ("--limit", "0", "1 or more"),
        ("--variant", "text=large", "text/default"),
    ],
)
def test_a_selection_of_what_is_not_there_is_one_clear_line(
    cache: Cache, tmp_path: Path, option: str, value: str, says: str
) -> None:
    out = str(tmp_path / "g.html")
    result = CliRunner().invoke(main, ["gallery", str(cache.path), "--out", out, option, value])
    assert result.exit_code == 2 and len(result.output.strip().splitlines()) == 1
    assert says in result.output and not Path(out).exists()


def test_nothing_left_by_selections_together_is_said(cache: Cache) -> None:
    with pytest.raises(UserError, match="nothing to show"):
        make_gallery(cache, GallerySettings(samples=("s00",), status="failed"))


def test_command_tells_what_it_wrote(cache: Cache, tmp_path: Path) -> None:
    out = tmp_path / "new" / "g.html"
    result = CliRunner().invoke(main, ["gallery", str(cache.path), "--out", str(out), "--limit", "3"])
    assert result.exit_code == 0 and "3 of 12 samples" in result.output and out.is_file()


def test_limit_takes_as_many_of_each_class() -> None:
    labels = np.asarray([0] * 50 + [1] * 3 + [2] * 47)
    ids = np.asarray([f"{n:03d}" for n in range(100)])
    kept = spread_over_classes(ids, labels, 23)
    assert np.bincount(labels[kept.astype(int)]).tolist() == [10, 3, 10]
    assert len(set(kept.tolist())) == 23 and {"000", "049"} <= set(kept.tolist())


def test_information_is_zero_for_answers_that_say_nothing_and_the_class_entropy_for_all() -> None:
    assert mutual_information(np.array([[5, 5], [5, 5]])) == pytest.approx(0)
    assert mutual_information(np.array([[8, 0], [0, 8]])) == pytest.approx(1)


def test_answer_table_sorts_classes_by_the_first_choice_and_folds_rare_answers() -> None:
    labels = np.repeat(np.arange(3), 8)
    answers = ["no"] * 8 + ["yes"] * 8 + [f"rare {n}" for n in range(8)]
    table = tabulate_answers(answers, labels, ("a", "b", "c"), ("yes", "no"))
    assert table is not None and table.answers[:2] == ("yes", "no") and table.answers[-1] == OTHER
    assert [row.name for row in table.classes] == ["b", "a", "c"]
    assert all(sum(row.shares) == pytest.approx(1) for row in table.classes)
    assert table.information == pytest.approx(table.class_entropy) and table.by_chance < table.information


def test_one_answer_for_all_is_said_in_words_and_has_no_bits() -> None:
    table = tabulate_answers(["no"] * 6, np.repeat(np.arange(3), 2), ("a", "b", "c"), ("yes", "no"))
    assert table is not None and f"{table.entropy:.2f}" == f"{table.information:.2f}" == "0.00"
    markup = render_question(Question("default", 0, "<held?>", ("yes", "no")), table)
    assert "<b>no</b> is the answer for all 6 samples" in markup and "<table" not in markup
    assert "&lt;held?&gt;" in markup


def test_skeletons_stand_upright_whatever_their_axes() -> None:
    layout = LAYOUTS["ntu25"]
    clip = np.random.default_rng(0).normal(0, 0.1, (4, 1, 25, 3)).astype(np.float32)
    for axis, sign in ((1, 1.0), (1, -1.0), (2, 1.0)):
        turned = clip.copy()
        turned[..., layout.joints.index("head"), axis] += sign * 2
        view = choose_view([turned], layout)
        assert (view.up, view.sign) == (axis, sign) and view.across != axis


def test_packed_poses_keep_shape_and_mark_absent_bodies() -> None:
    clip = np.zeros((2, 2, 3, 3), np.float32)
    clip[:, 0] = [[0, 0, 1], [1, 2, 1], [1, 1, 1]]
    packed = pack_poses(clip, View(0, 1, 1.0))
    assert packed is not None and packed["w"] == pytest.approx(0.5)
    points = np.frombuffer(base64.b64decode(packed["d"]), np.uint8).reshape(2, 2, 3, 2)
    assert (points[:, 1] == ABSENT).all() and points[0, 0].tolist() == [[0, 254], [254, 0], [254, 127]]


@needs_chromium
def test_browser_shows_all_cards_and_no_error(page: Path) -> None:
    opened = open_page(page)
    assert opened.console == []
    assert 'data-ready="yes"' in opened.dom
    assert opened.dom.count('<article class="card"') == made.SAMPLES
    assert opened.dom.count('src="data:image/jpeg;base64,') > 3
    assert "12 of 12 samples" in opened.dom


@needs_chromium
def test_browser_filters_what_the_link_names(page: Path) -> None:
    opened = open_page(page, width=420, anchor="#class=wave&answer=yes&split=xsub test", dark=True)
    assert opened.console == []
    assert opened.dom.count('<article class="card"') == 2 and "2 of 12 samples" in opened.dom


@needs_chromium
def test_page_does_not_scroll_sideways_on_a_phone(page: Path) -> None:
    assert scroll_width(page, 360) <= 360  # less where a scroll bar stands
