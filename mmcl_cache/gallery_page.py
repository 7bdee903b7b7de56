"""The gallery as HTML. Whatever came from data is escaped: `escape` in markup, `embed_json` in the data block."""

from __future__ import annotations

import base64
import hashlib
import json
from html import escape
from importlib import resources
from string import Template
from typing import Any

from mmcl_cache.gallery_contents import Gallery
from mmcl_cache.gallery_rows import PENDING, Question
from mmcl_cache.gallery_statistics import AnswerTable, Missing, Norms

LISTED = 400  # rows that are not ok, listed one by one
FEW_BITS = 0.02


def render_page(gallery: Gallery) -> str:
    """The whole page."""
    cache, description = gallery.cache, gallery.cache.description
    style, script = _template("gallery.css"), _template("gallery.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    fields = [m.name for m in gallery.missing]
    counts = f"{len(gallery.selected)} of {len(cache.samples)} samples"
    if len(gallery.shown) < len(gallery.selected):
        counts += f", {len(gallery.shown)} of them pictured"
    return Template(_template("gallery.html")).substitute(
        title=escape(f"{description.dataset}: gallery"),
        dataset=escape(description.dataset),
        counts=escape(counts),
        about=escape(
            f"{description.num_classes} classes, layout {description.layout.name}, "
            + (", ".join(fields) or "no field yet")
        ),
        selection=_selection(gallery),
        style=style,
        script=script,
        script_hash=digest,
        answers="".join(render_question(q, t) for q, t in zip(gallery.questions, gallery.tables, strict=True))
        or '<p class="none">No text in this cache: nothing was asked yet.</p>',
        missing=_missing(gallery),
        invalid=_invalid(gallery),
        norms=_norms(gallery.norms),
        data=embed_json(_data(gallery, fields)),
    )


def embed_json(value: Any) -> str:
    """JSON that stays inside a script element, whatever texts it holds."""
    plain = json.dumps(value, separators=(",", ":"))
    return plain.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _template(name: str) -> str:
    return (resources.files("mmcl_cache") / "templates" / name).read_text(encoding="utf-8")


def _selection(gallery: Gallery) -> str:
    chosen = gallery.settings
    parts = [
        ("samples", ", ".join(chosen.samples)),
        ("classes", ", ".join(chosen.classes)),
        ("split", chosen.split),
        ("answer", chosen.answer),
        ("status", chosen.status),
    ]
    told = "; ".join(f"{name}: {value}" for name, value in parts if value)
    return f'<p class="meta">selected by {escape(told)}</p>' if told else ""


def render_question(question: Question, table: AnswerTable | None) -> str:
    """What one question separates: bits, and the share of each answer in each class as bars."""
    head = (
        f"<h3>{escape(question.text)}</h3>"
        f'<p class="meta">text/{escape(question.variant)}, question {question.number + 1}</p>'
    )
    if table is None:
        return f'<section class="question">{head}<p class="none">No answer among the selected.</p></section>'
    if len(table.answers) == 1:
        return f'<section class="question">{head}{_one_answer(table)}</section>'
    excess = table.information - table.by_chance
    share = 100 * table.information / table.class_entropy if table.class_entropy else 0.0
    verdict = (
        "no more than chance: this answer separates no classes"
        if excess < FEW_BITS
        else f"{share:.0f} % of what is to be known about the class"
    )
    figures = (
        f'<p class="figures"><b>{table.information:.2f}</b> bits of the class are told by the answer '
        f"({table.by_chance:.2f} if answers were shuffled; the class has {table.class_entropy:.2f}, "
        f"the answer {table.entropy:.2f}): {verdict}.</p>"
    )
    keys = "".join(
        f'<span class="key"><svg class="swatch" viewBox="0 0 10 10"><rect class="a{n}" width="10" height="10"/>'
        f"</svg>{escape(answer or '(empty)')}</span>"
        for n, answer in enumerate(table.answers)
    )
    rows = "".join(
        f'<tr><th scope="row">{escape(row.name)}</th><td class="bar">{_bar(row.shares)}</td>'
        f"<td>{100 * row.shares[0]:.0f} %</td><td>{row.bits:.2f}</td><td>{row.count}</td></tr>"
        for row in table.classes
    )
    first = escape(table.answers[0] or "(empty)")
    return (
        f'<section class="question">{head}{figures}<p class="keys">{keys}</p><div class="scroll"><table class="bars">'
        f'<thead><tr><th scope="col">class</th><th scope="col" class="bar">share of each answer</th>'
        f'<th scope="col">{first}</th><th scope="col">bits</th><th scope="col">n</th></tr></thead>'
        f"<tbody>{rows}</tbody></table></div></section>"
    )


def _one_answer(table: AnswerTable) -> str:
    """Instead of a plot of bars that are all full."""
    answer = escape(table.answers[0] or "(empty)")
    return (
        f'<p class="figures"><b>{answer}</b> is the answer for all {table.count} samples: it separates no classes. '
        "The model's hidden states may still differ: see their norms below.</p>"
    )


def _bar(shares: tuple[float, ...]) -> str:
    start, parts = 0.0, []
    for n, share in enumerate(shares):
        if share:
            parts.append(f'<rect class="a{n}" x="{100 * start:.2f}" width="{100 * share:.2f}" height="10"/>')
        start += share
    return f'<svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">{"".join(parts)}</svg>'


def _missing(gallery: Gallery) -> str:
    if not gallery.missing:
        return '<p class="none">No field yet: `mmcl-cache build` makes them.</p>'
    names = list(gallery.missing[0].counts)
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in names)
    rows = "".join(_missing_row(each, names) for each in gallery.missing)
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">field</th>{head}<th scope="col">fingerprint</th>'
        f'<th scope="col" class="text">why not ok</th></tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _missing_row(missing: Missing, names: list[str]) -> str:
    cells = "".join(
        f'<td class="{"bad" if name != "ok" and missing.counts[name] else ""}">{missing.counts[name] or "–"}</td>'
        for name in names
    )
    why = "".join(
        f"<div>{escape(status)} {count}: {escape(reason or 'no reason kept')}</div>"
        for status, reason, count, _ in missing.reasons[:6]
    )
    return (
        f'<tr><th scope="row">{escape(missing.name)}</th>{cells}<td><code>{missing.fingerprint[:12]}</code></td>'
        f'<td class="text why">{why}</td></tr>'
    )


def _invalid(gallery: Gallery) -> str:
    table, classes = gallery.cache.samples, gallery.cache.description.classes
    labels = dict(zip(table.sample_ids.tolist(), table.labels.tolist(), strict=True))
    bad = [
        (sample_id, name, row.status, row.reason)
        for name, rows in gallery.rows.items()
        for sample_id, row in rows.items()
        if row.status not in ("ok", PENDING)
    ]
    if not bad:
        return '<p class="none">No selected row is absent or failed.</p>'
    listed = "".join(
        f'<tr><th scope="row">{escape(sample_id)}</th><td class="text">{escape(classes[labels[sample_id]])}</td>'
        f'<td class="text">{escape(name)}</td><td class="text bad">{escape(status)}</td>'
        f'<td class="text why">{escape(reason)}</td></tr>'
        for sample_id, name, status, reason in bad[:LISTED]
    )
    more = f'<p class="meta">and {len(bad) - LISTED} more</p>' if len(bad) > LISTED else ""
    return (
        f"<details{' open' if len(bad) <= 12 else ''}>"
        f"<summary>{len(bad)} row{'s' * (len(bad) > 1)} absent or failed</summary>"
        '<div class="scroll"><table><thead><tr><th scope="col">sample</th><th scope="col" class="text">class</th>'
        '<th scope="col" class="text">field</th><th scope="col" class="text">status</th>'
        f'<th scope="col" class="text">reason</th></tr></thead><tbody>{listed}</tbody></table></div>{more}</details>'
    )


def _norms(norms: list[Norms]) -> str:
    if not norms:
        return '<p class="none">No features in this cache.</p>'
    rows = "".join(
        f'<tr><th scope="row">{escape(n.name)}</th><td class="spark">{_histogram(n.histogram)}</td>'
        + "".join(f"<td>{value:.4g}</td>" for value in n.quantiles)
        + f'<td>{n.size}</td><td class="{"bad" if n.constant == n.size else ""}">{n.constant or "–"}</td>'
        f"<td>{n.count}</td></tr>"
        for n in norms
    )
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in (
            "histogram",
            "least",
            "5 %",
            "median",
            "95 %",
            "most",
            "values",
            "never change",
            "rows",
        )
    )
    return (
        f'<div class="scroll"><table><thead><tr><th scope="col">feature</th>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _histogram(counts: tuple[int, ...]) -> str:
    most = max(counts) or 1
    bars = "".join(
        f'<rect class="a0" x="{4 * n}" y="{24 - 24 * count / most:.1f}" width="3" height="{24 * count / most:.1f}"/>'
        for n, count in enumerate(counts)
    )
    return f'<svg viewBox="0 0 {4 * len(counts)} 24" aria-hidden="true">{bars}</svg>'


def _data(gallery: Gallery, fields: list[str]) -> dict[str, Any]:
    table, description = gallery.cache.samples, gallery.cache.description
    at = table.positions(gallery.shown)
    samples = []
    for row, sample_id in zip(at.tolist(), gallery.shown.tolist(), strict=True):
        answers = [each.get(sample_id) for each in gallery.answers]
        seen = [gallery.rows[name][sample_id] for name in fields]
        samples.append(
            {
                "id": sample_id,
                "label": int(table.labels[row]),
                "splits": [int(table.splits[p][row]) for p in description.protocols],
                "strip": gallery.thumbnails.get(sample_id),
                "poses": gallery.poses.get(sample_id),
                "answers": [
                    a and [a.text, None if a.probability is None else round(a.probability, 4)]
                    for a in answers
                ],
                "rows": [[s.status, s.reason] for s in seen],
            }
        )
    return {
        "classes": list(description.classes),
        "protocols": list(description.protocols),
        "questions": [[q.variant, q.text] for q in gallery.questions],
        "fields": fields,
        "bones": [list(bone) for bone in description.layout.bones],
        "samples": samples,
    }
