"""The page of backbones names every one, with the sizes it has."""

from __future__ import annotations

from pathlib import Path

from mmcl_train.backbones import BACKBONES
from mmcl_train.backbones.listing import SIZES, describe_clip_rule
from mmcl_train.method.auxiliary import AUXILIARIES
from pipelines.bench_backbones import replace_rows

PAGE = Path(__file__).resolve().parents[2] / "docs" / "backbones.md"


def test_table_has_every_backbone_with_its_sizes_and_clip_rule() -> None:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.read_text().splitlines()]
    table = {row[0]: row for row in rows if row[0] in BACKBONES and len(row) == 12}
    assert set(table) == set(BACKBONES)
    for name, row in table.items():
        assert row[1] == BACKBONES[name].publication
        assert row[3] == f"{SIZES[name].parameters / 1e6:.2f}" and row[4] == f"{SIZES[name].macs / 1e9:.2f}"
        assert row[5] == describe_clip_rule(BACKBONES[name])


def test_every_auxiliary_objective_is_described() -> None:
    text = PAGE.read_text()
    for name, objective in AUXILIARIES.items():
        assert f"| `{name}` | {objective.publication.split(',')[0].rstrip(')')}" in text


def test_rows_measured_anew_leave_the_others_and_say_where_they_were_measured() -> None:
    page = "machine one\n\n| backbone | ms |\n|---|---|\n| first | 1 |\n| second | 2 |"
    anew = "| backbone | ms |\n|---|---|\n| second | 3 |"
    once = replace_rows(page, ["second"], "machine two", anew)
    assert "machine one" in once and "Measured apart: second: machine two" in once
    assert "| first | 1 |" in once and "| second | 3 |" in once and "| second | 2 |" not in once
    assert replace_rows(once, ["second"], "machine two", anew) == once
