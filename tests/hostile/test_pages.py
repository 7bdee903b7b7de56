"""Pages made from a stranger's cache or run show its texts, and nothing in them comes alive."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from mmcl_cache.gallery import write_gallery
from mmcl_cache.gallery_contents import GallerySettings
from mmcl_cache.store import LAYOUTS, Cache, Column, Description, Row, SampleTable, create_cache
from mmcl_train.report.report import ReportSettings, write_report
from mmcl_train.scores.files import Scores, write_scores

PAYLOADS = (
    "<script>alert(1)</script>",
    "</script><script>alert(2)</script>",
    "</style><svg onload=alert(3)>",
    '" onmouseover="alert(4)" x="',
    "' autofocus onfocus='alert(5)'",
    "<img src=x onerror=alert(6)>",
    "javascript:alert(7)",
    "<!--<script>",
    "]]><a href='data:text/html,<script>alert(8)</script>'>",
    "${title} $script \\u003cscript\\u003e &lt;script&gt;",
    "\u2028alert(9)\u2029</title><base href=//evil.example>",
)
IDS = sorted(re.sub(r"[/\\\u2028\u2029]", "_", text) for text in PAYLOADS)


class Page(HTMLParser):
    """What a browser would make of a page: scripts, handlers, places it leads to."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.scripts: list[dict[str, str | None]] = []
        self.handlers: list[str] = []
        self.places: list[str] = []
        self.tags: set[str] = set()
        self.shown = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag == "script":
            self.scripts.append(dict(attrs))
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.places += [
            value or "" for name, value in attrs if name in ("href", "src", "action", "xlink:href")
        ]

    def handle_data(self, data: str) -> None:
        self.shown += data


def check_dead(page: Page, scripts: int) -> None:
    assert len(page.scripts) == scripts
    assert page.handlers == []
    assert not page.tags & {"base", "iframe", "object", "embed", "form" if scripts == 0 else "link"}
    assert [place for place in page.places if not place.startswith(("#", "data:image/"))] == []


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    """Every text that a cache can hold tries to be markup: ids, classes, questions, answers, reasons, settings."""
    rows = np.arange(len(IDS), dtype=np.int32)
    table = SampleTable(
        np.array(IDS), rows % 11, rows, rows, rows, {PAYLOADS[3]: (1 + rows % 2).astype(np.uint8)}
    )
    description = Description(PAYLOADS[1], PAYLOADS, LAYOUTS["ntu25"], 2, (PAYLOADS[3],))
    made = create_cache(tmp_path / "cache", description, table, 4)
    columns = (Column("answer", "utf8"), Column("token_count", "int32", (2,)))
    settings = {"questions": list(PAYLOADS[:2]), "choices": list(PAYLOADS[2:4])}
    text = made.add_field("text", "default", settings, columns)
    strip = made.add_field("strip", "default", {"x": PAYLOADS[0]}, (Column("jpeg", "uint8", (), True),))
    for shard in range(made.num_shards):
        ids = text.shard_ids(shard).tolist()
        text.write_shard(
            shard,
            [
                Row(
                    i, "ok", PAYLOADS[n % 11], {"answer": json.dumps([PAYLOADS[n], i]), "token_count": [1, 1]}
                )
                for n, i in enumerate(ids)
            ],
        )
        strip.write_shard(shard, [Row(i, "failed", f"{i}: {PAYLOADS[n]}") for n, i in enumerate(ids)])
    return made


def test_gallery_of_a_hostile_cache_is_dead(cache: Cache, tmp_path: Path) -> None:
    write_gallery(cache, tmp_path / "gallery.html", GallerySettings(classes=PAYLOADS[:9]))
    text = (tmp_path / "gallery.html").read_text(encoding="utf-8")
    page = Page(text)
    check_dead(page, scripts=2)
    assert PAYLOADS[1] in page.shown and "<script>alert(1)" not in text
    (block,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert tuple(json.loads(block)["classes"]) == PAYLOADS
    # Only the page's own script may run, and nothing may be fetched.
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy"\s+content="([^"]*)"', text)
    assert (
        "default-src 'none'" in policy and "unsafe-inline" not in policy.split("script-src")[1].split(";")[0]
    )


def test_report_of_a_hostile_run_is_dead(cache: Cache, tmp_path: Path) -> None:
    run = tmp_path / "run<img src=x onerror=alert(0)>"
    logits = np.eye(11, dtype=np.float32)[(np.arange(len(IDS)) + np.arange(len(IDS)) % 2) % 11]
    about = {
        key: PAYLOADS[n] for n, key in enumerate(("run", "backbone", "stream", "dataset", "protocol", "seed"))
    }
    labels = np.arange(len(IDS)) % 11
    write_scores(
        run / "scores" / "test-last.npz",
        Scores(np.array(IDS), logits, labels, {**about, "classes": PAYLOADS}),
    )
    texts = {text: text for text in PAYLOADS}
    for name in ("config", "environment", "result", "fields"):
        (run / f"{name}.json").write_text(
            json.dumps({**texts, "data": {"cache": str(cache.path)}, "epochs": PAYLOADS[0]})
        )
    (run / "metrics.jsonl").write_text(json.dumps({"epoch": 1, "loss": 10**400, **texts}) + "\n")
    write_report(ReportSettings((run,), cache=cache.path, out=tmp_path / "report"))
    page = Page((tmp_path / "report" / "index.html").read_text(encoding="utf-8"))
    check_dead(page, scripts=0)
    assert PAYLOADS[0] in page.shown and PAYLOADS[5] in page.shown
    table = (tmp_path / "report" / "table.md").read_text(encoding="utf-8")
    assert "<script" not in table and "<img" not in table
