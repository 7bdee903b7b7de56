"""The difference of two caches, for people."""

from __future__ import annotations

from mmcl_cache.diff import EXAMPLES, CacheDifference, FieldDifference, RowDifference


def format_caches(found: CacheDifference) -> list[str]:
    """A line for each thing that differs; none where nothing does."""
    lines = [f"plan: {each.name}: {each.a} in A, {each.b} in B" for each in found.plan]
    for where, ids in (("A", found.only_a), ("B", found.only_b)):
        if ids:
            more = f" and {len(ids) - EXAMPLES} more" if len(ids) > EXAMPLES else ""
            lines.append(f"samples: {len(ids)} only in {where}: {', '.join(ids[:EXAMPLES])}{more}")
    lines += [f"samples: {_format_rows(each)}" for each in found.table]
    lines += [f"{name}: only in A" for name in found.fields_only_a]
    lines += [f"{name}: only in B" for name in found.fields_only_b]
    for each in found.fields:
        lines += format_fields(each)
    return lines


def format_fields(found: FieldDifference) -> list[str]:
    """The same for two field variants."""
    lines = [f"{found.name}: {each.name}: {each.a} in A, {each.b} in B" for each in found.settings]
    if found.settings:
        a, b = (fingerprint[:12] for fingerprint in found.fingerprints)
        lines.append(
            f"{found.name}: fingerprint {a} in A, {b} in B; settings differ, so rows were not compared"
        )
    lines += [f"{found.name}: {_format_rows(each, found.compared)}" for each in found.rows]
    if found.unbuilt:
        lines.append(f"{found.name}: {found.unbuilt} rows are built in one of the two only")
    if lines:
        lines += [f"{found.name}: note: {note}" for note in found.notes]
    return lines


def _format_rows(found: RowDifference, compared: int | None = None) -> str:
    of = f" of {compared}" if compared is not None else ""
    largest = f", by {found.largest:.3g} at most" if found.largest is not None else ""
    more = f" and {found.count - len(found.samples)} more" if found.count > len(found.samples) else ""
    return f"{found.column} differs in {found.count}{of} rows{largest}: {', '.join(found.samples)}{more}"
