from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from mmcl_cache.store import LAYOUTS, Column, Description, Row, SampleTable, create_cache
from mmcl_train.cli import cli
from mmcl_train.report.drawing import MARKERS, to_svg
from mmcl_train.report.findings import find_pairs
from mmcl_train.report.plots import plot_confusion, plot_curves
from mmcl_train.report.runs import curve, read_run
from mmcl_train.report.tables import html_table, markdown_table
from tests.mmcl_cache.gallery.browser import needs_chromium, open_page, scroll_width
from tests.mmcl_cache.gallery.pictured_cache import strip_of
from tests.mmcl_train.report.run_folders import CLASSES, HOSTILE, SAMPLES, sample_ids, write_run


def call(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["report", *(str(argument) for argument in arguments)])


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Strips and answers of the test samples; one strip failed."""
    path = tmp_path_factory.mktemp("cache") / "cache"
    rows = np.arange(SAMPLES, dtype=np.int32)
    table = SampleTable(
        sample_ids(), rows % 3, rows * 0, rows * 0, rows * 0, {"xsub": (rows * 0 + 2).astype(np.uint8)}
    )
    made = create_cache(path, Description("made", CLASSES, LAYOUTS["ntu25"], 2, ("xsub",)), table, 10)
    strip = made.add_field("strip", "default", {}, (Column("jpeg", "uint8", (), True),))
    text = made.add_field(
        "text", "default", {"questions": ["<b>holding</b> objects?"]}, (Column("answer", "utf8"),)
    )
    for shard in range(made.num_shards):
        ids = made.shard_ids(shard).tolist()
        strip.write_shard(
            shard,
            [
                Row(i, "failed", HOSTILE) if i == "test-00" else Row(i, "ok", "", {"jpeg": strip_of(n)})
                for n, i in enumerate(ids)
            ],
        )
        text.write_shard(shard, [Row(i, "ok", "", {"answer": json.dumps(["<u>yes</u>"])}) for i in ids])
    return path


@pytest.fixture(scope="module")
def report(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("runs")
    runs = [
        write_run(root / "mmcl-joint", wrong=2),
        write_run(root / "mmcl-bone", stream="bone", seed=2, wrong=4),
    ]
    plain = write_run(root / "plain", co_learning=False, wrong=6)
    result = call(*runs, "--baseline", plain, "--cache", cache, "--out", root / "out")
    assert result.exit_code == 0, result.output
    return root / "out"


def test_report_writes_page_table_and_plots(report: Path) -> None:
    assert sorted(path.name for path in report.iterdir()) == [
        "classes.png",
        "confusion.png",
        "curves.png",
        "index.html",
        "table.md",
    ]
    for path in report.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 300 and image.convert("RGB").getpixel((0, 0)) == (255, 255, 255)


def test_nothing_from_runs_or_cache_becomes_markup(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "<script" not in text and "onerror" in text and "<img src=x" not in text
    assert "<i>up" not in text and "<u>yes" not in text and "<b>holding" not in text
    assert "&lt;script&gt;alert(1)" in text and "&lt;u&gt;yes" in text


def test_page_is_complete_in_itself(report: Path) -> None:
    text = (report / "index.html").read_text()
    links = re.findall(r'(?:src|href)="([^"]*)"', text)
    assert links and all(link.startswith(("data:image/", "#")) for link in links)
    targets = {link[1:] for link in links if link.startswith("#")} | set(re.findall(r"url\(#([^)]*)\)", text))
    assert targets <= set(re.findall(r'\sid="([^"]*)"', text))


def test_confused_pair_is_shown_with_strips_answers_and_the_baselines_count(report: Path) -> None:
    text = (report / "index.html").read_text()
    assert "of 8 taken for a | b" in text and "(baseline 6)" in text
    assert text.count('src="data:image/jpeg;base64,') >= 2
    assert "strip failed: &lt;img src=x" in text


def test_ensemble_of_streams_gain_and_mcnemar_are_in_page_and_table(report: Path) -> None:
    table = (report / "table.md").read_text()
    for told in (table, (report / "index.html").read_text()):
        assert "ensemble, equal weights" in told and "weights fitted on val" in told
        assert "points top-1 against the baseline" in told and "McNemar" in told
    assert "+16.67 points" in table  # the joint run against the joint baseline, 2 wrong and 6 wrong of 24


def test_repeated_seeds_have_mean_and_spread_and_no_ensemble(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed{n}", seed=n, wrong=n) for n in (1, 2, 3)]
    assert call(*runs, "--out", tmp_path / "out").exit_code == 0
    table = (tmp_path / "out" / "table.md").read_text()
    assert "91.67 ± 4.17" in table and "ensemble" not in table


def test_mcnemar_is_told_of_the_runs_that_belong_together(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed{n}", seed=n, wrong=n) for n in (1, 2)]
    plain = [write_run(tmp_path / f"plain{n}", seed=n, co_learning=False, wrong=6) for n in (1, 2)]
    for baselines, told in ((plain, r"McNemar p, seed by seed: [\d.]+, [\d.]+\."), (plain[:1], "")):
        arguments = [part for baseline in baselines for part in ("--baseline", baseline)]
        assert call(*runs, *arguments, "--out", tmp_path / "out").exit_code == 0
        table = (tmp_path / "out" / "table.md").read_text()
        assert re.search(told, table) if told else "McNemar" not in table


def test_scores_alone_are_enough_for_a_page(tmp_path: Path) -> None:
    run = write_run(tmp_path / "bare", val=False, whole=False)
    result = call(run)
    assert result.exit_code == 0, result.output
    text = (run / "report" / "index.html").read_text()
    assert "No metrics.jsonl" in text and "give it with --cache" in text


def test_nothing_confused_is_said(tmp_path: Path) -> None:
    run = write_run(tmp_path / "right", wrong=0)
    assert call(run).exit_code == 0
    assert "Nothing is confused" in (run / "report" / "index.html").read_text()


def test_epoch_chosen_on_test_is_labelled_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    (run / "scores" / "test-last.npz").rename(run / "scores" / "test-best-test.npz")
    assert call(run, "--which", "test-best-test").exit_code == 0
    assert "not comparable" in (run / "report" / "index.html").read_text()


def test_what_cannot_be_shown_is_one_clear_line(tmp_path: Path, cache: Path) -> None:
    run = write_run(tmp_path / "run")
    (tmp_path / "empty").mkdir()
    other = write_run(tmp_path / "other", wrong=1)
    (other / "scores" / "test-last.npz").write_bytes(b"no scores")
    (tmp_path / "file").write_text("")
    cases = [
        ((tmp_path / "gone",), "no such run folder"),
        ((tmp_path / "empty",), "nothing to show, this run has no test-last scores"),
        ((run, "--which", "test-best-val"), "it has test-last, val-last"),
        ((run, other), "not a score file"),
        ((run, "--cache", tmp_path / "gone"), "no cache at"),
        ((run, "--out", tmp_path / "file"), "is a file"),
    ]
    for arguments, says in cases:
        result = call(*arguments)
        assert result.exit_code == 2 and says in result.output, result.output
        assert len(result.output.strip().splitlines()) == 1


def test_cache_of_other_samples_is_refused(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    table = SampleTable(*(np.array([v]) for v in ("x", 0, 0, 0, 0)), {"xsub": np.array([1], np.uint8)})  # type: ignore[arg-type]
    create_cache(tmp_path / "cache", Description("x", ("a",), LAYOUTS["ntu25"], 1, ("xsub",)), table, 1)
    result = call(run, "--cache", tmp_path / "cache")
    assert result.exit_code == 2 and "no sample 'test-00'" in result.output


def test_a_cut_last_line_of_metrics_is_left_out_and_a_damaged_one_named(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    path = run / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "lo')
    assert curve(read_run(run), "loss") == ([1.0, 2.0], [3.0, 1.5])
    path.write_text("{\n" + path.read_text())
    assert "line 1" in call(run).output


def test_a_loss_that_is_off_has_no_curve(tmp_path: Path) -> None:
    run = read_run(write_run(tmp_path / "plain", co_learning=False))
    assert curve(run, "loss_contrastive") == ([], [])


def test_pairs_count_both_directions_once() -> None:
    labels = np.array([0, 0, 1, 1, 2])
    predicted = np.array([1, 0, 0, 0, 2])
    (pair,) = find_pairs(np.eye(3)[predicted], labels, None, 5, 3)
    assert (pair.first, pair.second, pair.counts) == (0, 1, (1, 2))
    assert pair.samples == ((0, 1), (2, 3))


def test_plots_have_no_colour_of_their_own_and_names_are_no_formulas(tmp_path: Path) -> None:
    plot = plot_curves([read_run(write_run(tmp_path / "a$\\bad$"))], [])
    assert plot is not None
    svg = to_svg(plot, "x")
    assert "var(--s0)" in svg and "var(--ink)" in svg and "$\\bad$" in svg
    assert not any(marker in svg for marker in (MARKERS.ink, MARKERS.soft, MARKERS.line, *MARKERS.series))
    assert "#000000" not in svg and svg.startswith("<svg") and 'width="' not in svg.split(">")[0]


@pytest.mark.parametrize("count", [2, 31, 120])
def test_confusion_matrix_of_any_size_is_drawn(count: int) -> None:
    svg = to_svg(plot_confusion(np.eye(count, dtype=np.int64), [f"class {n}" for n in range(count)]), "c")
    assert ("class 1" in svg) == (count <= 30)


def test_names_do_not_break_tables() -> None:
    assert "a \\| b" in markdown_table(("x",), [["a | b"]])
    assert "<b>" not in html_table(("x",), [["<b>"]]) and "<b>" not in markdown_table(("x",), [["<b>"]])


def test_report_imports_neither_torch_nor_pyplot() -> None:
    code = "import sys; import mmcl_train.report.report; print({'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@needs_chromium
def test_browser_opens_the_page_without_a_complaint(report: Path) -> None:
    opened = open_page(report / "index.html", width=420, dark=True)
    assert opened.console == []
    assert opened.dom.count('<svg role="img"') == 3 and 'class="pair"' in opened.dom


@needs_chromium
def test_page_does_not_scroll_sideways_on_a_phone(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "index.html"
    page.write_bytes((report / "index.html").read_bytes())
    assert scroll_width(page, 360) <= 360  # less where a scroll bar stands
