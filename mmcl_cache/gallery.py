"""A page to look at a cache: strips, questions, answers, skeletons, what is missing; one file without network."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mmcl_cache.errors import UserError
from mmcl_cache.gallery_contents import Gallery, GallerySettings
from mmcl_cache.gallery_figures import choose_view, pack_poses, poses_of, thumbnail_of
from mmcl_cache.gallery_page import render_page
from mmcl_cache.gallery_rows import (
    PENDING,
    choose_variants,
    questions_of,
    read_answers,
    read_rows,
    select_samples,
    spread_over_classes,
)
from mmcl_cache.gallery_statistics import (
    NormCounter,
    count_missing,
    feature_columns,
    tabulate_answers,
)
from mmcl_cache.store import STATUSES, Cache, Columns, Field

VIEWED = 50  # skeletons that the direction of view is chosen from


def write_gallery(cache: Cache, path: Path, settings: GallerySettings) -> Gallery:
    """Write the page.

    Raises:
        UserError: nothing to show, a selection of what is not there, or a path that cannot be written.
        DamagedCacheError: a shard is not what was written.
    """
    gallery = make_gallery(cache, settings)
    if path.is_dir():
        raise UserError(f"--out {path} is a folder; name a file such as {path / 'gallery.html'}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(render_page(gallery), encoding="utf-8")
    except OSError as error:
        raise UserError(f"--out {path}: cannot be written ({error.strerror})") from None
    return gallery


def make_gallery(cache: Cache, settings: GallerySettings) -> Gallery:
    """Read what the page shows; see `write_gallery`."""
    if settings.limit < 1:
        raise UserError(f"--limit {settings.limit}: must be 1 or more")
    if settings.status and settings.status not in (*STATUSES, PENDING):
        raise UserError(f"--status {settings.status}: there are {', '.join((*STATUSES, PENDING))}")
    variants = choose_variants(cache, settings.variants)
    ids = select_samples(cache, settings.samples, settings.classes, settings.split)
    gallery = Gallery(cache, settings, ids, ids)
    fields = [cache.field(name, variant) for name, listed in variants.items() for variant in listed]
    for each in fields:
        _read_field(gallery, each)
    _narrow(gallery)
    labels = cache.samples.labels[cache.samples.positions(gallery.selected)]
    gallery.shown = spread_over_classes(gallery.selected, labels, settings.limit)
    gallery.missing = [count_missing(each, gallery.rows[each.name]) for each in fields]
    for question, answers in zip(gallery.questions, gallery.answers, strict=True):
        there = [n for n, name in enumerate(gallery.selected.tolist()) if name in answers]
        texts = [answers[str(gallery.selected[n])].text for n in there]
        gallery.tables.append(
            tabulate_answers(texts, labels[there], cache.description.classes, question.choices)
        )
    for each in fields:
        _read_figures(gallery, each)
    return gallery


def _read_field(gallery: Gallery, each: Field) -> None:
    """Statuses of every selected row; of `text` also the answers."""
    ids = gallery.selected.tolist()
    if each.field != "text":
        gallery.rows[each.name] = dict(read_rows(each, ids, (), lambda part, row: None))
        return
    seen = read_answers(each, ids)
    gallery.rows[each.name] = dict(seen)
    for question in questions_of(each):
        gallery.questions.append(question)
        gallery.answers.append(
            {name: row.value[question.number] for name, row in seen.items() if row.value is not None}
        )


def _narrow(gallery: Gallery) -> None:
    """Leave the samples with the answer and status asked for."""
    ids, settings = gallery.selected.tolist(), gallery.settings
    if settings.answer:
        said = {answer.text for answers in gallery.answers for answer in answers.values()}
        if settings.answer not in said:
            known = ", ".join(sorted(said)[:8]) or "no answer at all"
            raise UserError(f"--answer {settings.answer}: no selected sample has it; there are: {known}")
        keep = {n for each in gallery.answers for n, answer in each.items() if answer.text == settings.answer}
        ids = [name for name in ids if name in keep]
    if settings.status == "ok":
        ids = [n for n in ids if all(rows[n].status == "ok" for rows in gallery.rows.values())]
    elif settings.status:
        ids = [n for n in ids if any(rows[n].status == settings.status for rows in gallery.rows.values())]
    if not ids:
        raise UserError(f"{gallery.cache.path}: nothing to show: no sample is left by what was selected")
    gallery.selected = np.asarray(ids)
    kept = set(ids)
    for name, rows in gallery.rows.items():
        gallery.rows[name] = {sample_id: row for sample_id, row in rows.items() if sample_id in kept}


def _read_figures(gallery: Gallery, each: Field) -> None:
    """Pictures and poses of the samples shown (of the first variant), norms of all selected."""
    shown = gallery.shown.tolist()
    if each.field == "strip" and not gallery.thumbnails:
        for name, strip in read_rows(each, shown, ("jpeg",), thumbnail_of).items():
            if strip.value is not None:
                gallery.thumbnails[name] = strip.value
    elif each.field == "skeleton" and not gallery.poses:
        columns = [c.name for c in each.columns if c.name in ("joints", "frames", "bodies")]
        clips = {
            n: s.value for n, s in read_rows(each, shown, columns, poses_of).items() if s.value is not None
        }
        layout = gallery.cache.description.layout
        view = choose_view(list(clips.values())[:: max(len(clips) // VIEWED, 1)], layout)
        for name, clip in clips.items():
            packed = pack_poses(clip, view)
            if packed is not None:
                gallery.poses[name] = packed
    counters = [NormCounter(f"{each.name} {column}", column) for column in feature_columns(each)]

    def count(part: Columns, row: int) -> None:
        for counter in counters:
            counter.add(part, row)

    if counters:
        read_rows(each, gallery.selected.tolist(), [counter.column for counter in counters], count)
    gallery.norms += [norms for counter in counters if (norms := counter.result()) is not None]
