"""What a build did, and where its time went."""

from __future__ import annotations

from dataclasses import dataclass, field, fields


@dataclass
class BuildReport:
    """Counts and seconds; of several processes, their sums.

    Args:
        shards_found: complete before the build began.
        shards_made: by this build.
        samples: decoded.
        wall_seconds: from the first shard to the last; the longest of several processes.
        decode_seconds: CPU time of the decode workers: reading, decoding, skeletons, strips, JPEG.
        prepare_seconds: CPU time from stored strips to what the models' devices are given: JPEG, resize.
        model_seconds: the models by field, normalising included: CPU time on a processor; on a GPU wall time, transfers
            included.
        write_seconds: packing rows, writing, hashing, syncing; in a thread of its own.
        wait_decode_seconds, wait_model_seconds: what the process stood still for.
    """

    shards_found: int = 0
    shards_made: int = 0
    samples: int = 0
    wall_seconds: float = 0.0
    decode_seconds: float = 0.0
    prepare_seconds: float = 0.0
    model_seconds: dict[str, float] = field(default_factory=dict)
    write_seconds: float = 0.0
    wait_decode_seconds: float = 0.0
    wait_model_seconds: float = 0.0

    def add(self, other: BuildReport) -> None:
        """Take in what another process or shard reports."""
        self.wall_seconds = max(self.wall_seconds, other.wall_seconds)
        for each in fields(self):
            if each.name not in ("wall_seconds", "model_seconds"):
                setattr(self, each.name, getattr(self, each.name) + getattr(other, each.name))
        for name, seconds in other.model_seconds.items():
            self.model_seconds[name] = self.model_seconds.get(name, 0.0) + seconds

    def limit(self) -> str:
        """What the build waited for most: "decoding", "the models", or "" where neither stood out."""
        longer = max(self.wait_decode_seconds, self.wait_model_seconds)
        if longer < 0.2 * self.wall_seconds:
            return ""
        return "decoding" if self.wait_decode_seconds >= self.wait_model_seconds else "the models"
