"""What a cache holds, told from its markers; only shards with rows that are not ok are opened."""

from __future__ import annotations

from typing import Any

from mmcl_cache.store import Cache, field_status, invalid_rows

EXAMPLES = 3


def cache_status(cache: Cache, every_row: bool = False) -> dict[str, Any]:
    """Counts of a cache as plain values.

    Args:
        every_row: list every row that is not ok, instead of a few examples a reason.
    """
    fields = []
    for name, variants in cache.fields().items():
        for variant in variants:
            field = cache.field(name, variant)
            counts = field_status(field)
            reasons: dict[tuple[str, str], list[str]] = {}
            for sample_id, status, reason in invalid_rows(field):
                key = (status, reason if every_row else _kind(reason, sample_id))
                reasons.setdefault(key, []).append(sample_id)
            fields.append(
                {
                    "field": name,
                    "variant": variant,
                    "fingerprint": field.fingerprint,
                    "shards_done": counts.shards_done,
                    "shards": counts.shards,
                    "rows": counts.rows,
                    "bytes": counts.bytes,
                    "info": field.info,
                    "invalid": [
                        {
                            "status": status,
                            "reason": reason,
                            "count": len(ids),
                            "samples": ids if every_row else ids[:EXAMPLES],
                        }
                        for (status, reason), ids in sorted(reasons.items(), key=lambda item: -len(item[1]))
                    ],
                }
            )
    samples, description = cache.samples, cache.description
    protocols = {p: {s: len(samples.select(p, s)) for s in ("train", "test")} for p in description.protocols}
    return {
        "cache": str(cache.path),
        "dataset": description.dataset,
        "samples": len(samples),
        "classes": description.num_classes,
        "layout": description.layout.name,
        "protocols": protocols,
        "fields": fields,
    }


def _kind(reason: str, sample_id: str) -> str:
    """A reason without the sample's own name, so that equal troubles are counted together."""
    return reason.replace(sample_id, "<sample>")


def format_status(status: dict[str, Any]) -> str:
    """The same for people."""
    lines = [
        f"{status['cache']}: {status['dataset']}, {status['samples']} samples, {status['classes']} classes, "
        f"layout {status['layout']}"
    ]
    lines += [
        f"  protocol {name}: {sizes['train']} train, {sizes['test']} test"
        for name, sizes in status["protocols"].items()
    ]
    if not status["fields"]:
        lines.append("  no field yet")
    else:
        lines.append(f"  {'field':24} {'shards':>11} {'ok':>8} {'absent':>8} {'failed':>8} {'size':>10}")
    for field in status["fields"]:
        rows = field["rows"]
        shards = f"{field['shards_done']}/{field['shards']}"
        lines.append(
            f"  {field['field'] + '/' + field['variant']:24} {shards:>11} "
            f"{rows.get('ok', 0):>8} {rows.get('absent', 0):>8} {rows.get('failed', 0):>8} "
            f"{format_bytes(field['bytes']):>10}"
        )
    for field in status["fields"]:
        for group in field["invalid"]:
            more = group["count"] - len(group["samples"])
            names = ", ".join(group["samples"]) + (f" and {more} more" if more else "")
            lines.append(
                f"  {field['field']}: {group['status']} {group['count']}: {group['reason']} [{names}]"
            )
    unfinished = [f for f in status["fields"] if f["shards_done"] < f["shards"]]
    if unfinished:
        lines.append("  not complete: the same `mmcl-cache build` continues it")
    return "\n".join(lines)


def format_bytes(count: int) -> str:
    """Such as 134.2 kB; steps of a thousand."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
