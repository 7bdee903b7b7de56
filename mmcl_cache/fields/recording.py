"""What one decode process does with one sample: read its files once, make the rows that need them."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from mmcl_cache.config import StripSettings
from mmcl_cache.datasets import Dataset, Sample
from mmcl_cache.datasets.links import LinkCheck
from mmcl_cache.errors import SampleError, SourceError
from mmcl_cache.fields.skeleton import make_skeleton_row
from mmcl_cache.fields.stamp import SKELETON, strip_sources, take_stamps, write_stamps
from mmcl_cache.fields.strip import PeopleFinder, make_strip_row
from mmcl_cache.skeletons.bodies import Bodies
from mmcl_cache.store import Row


@dataclass(frozen=True)
class Recorder:
    """Samples in, rows out. Small enough to travel to every decode process.

    Args:
        dataset: how its files are read; carries no samples.
        source: folder that is cut off the paths in reasons, so that a cache tells the same on every machine.
        strip: how strips are made; None where no strip is wanted.
        wants_skeleton: make the skeleton row too.
        decoder: see `read_frames`.
        finder: finds people where strips are cropped by a detector.
    """

    dataset: Dataset
    source: Path
    strip: StripSettings | None
    wants_skeleton: bool
    decoder: str
    finder: PeopleFinder | None = None

    @classmethod
    def of(
        cls,
        dataset: Dataset,
        source: Path,
        strip: StripSettings | None,
        wants_skeleton: bool,
        decoder: str,
        finder: PeopleFinder | None = None,
    ) -> Recorder:
        return cls(replace(dataset, samples=(), splits={}), source, strip, wants_skeleton, decoder, finder)

    def __call__(self, sample: Sample) -> RecordedRows:
        if not self.dataset.follow_links and (why := self._find_link(sample)):
            return self.failed(sample, why)
        # Stamped before anything is read: a file that is changed meanwhile will be seen to differ.
        kinds = strip_sources(self.strip.crop) if self.strip is not None else ()
        stamps = take_stamps(sample, {*kinds, *((SKELETON,) if self.wants_skeleton else ())})
        bodies, trouble = self._read_bodies(sample)
        skeleton = self._skeleton_row(sample, bodies, trouble) if self.wants_skeleton else None
        strip = self._strip_row(sample, bodies, self.strip) if self.strip is not None else None
        failed = trouble or "failed" in [row.status for row in (skeleton, strip) if row is not None]
        return RecordedRows(
            replace(skeleton, source=write_stamps(stamps, (SKELETON,))) if skeleton is not None else None,
            replace(strip, source=write_stamps(stamps, kinds)) if strip is not None else None,
            _missing_file(sample) if failed else None,
        )

    def failed(self, sample: Sample, reason: str) -> RecordedRows:
        """The rows of a sample whose process died or ran out of time."""
        row = Row(sample.sample_id, "failed", self._portable(reason))
        wants_strip = self.strip is not None
        return RecordedRows(
            row if self.wants_skeleton else None, row if wants_strip else None, _missing_file(sample)
        )

    def _find_link(self, sample: Sample) -> str:
        """Which file of a sample, or image of a folder, is a link out of the source; "" where none is."""
        links = LinkCheck(self.source)
        try:
            for path in (sample.skeleton, sample.video):
                if path is not None:
                    links.check(os.path.abspath(path))
                    if path.is_dir():
                        links.check_images(os.path.abspath(path))
        except (SourceError, OSError) as error:
            return str(error)
        return ""

    def _read_bodies(self, sample: Sample) -> tuple[Bodies | None, str]:
        if sample.skeleton is None:
            return None, ""
        try:
            return self.dataset.read(sample.skeleton), ""
        except Exception as error:  # the per-sample boundary: one bad file never stops a build
            return None, _tell(error)

    def _skeleton_row(self, sample: Sample, bodies: Bodies | None, trouble: str) -> Row:
        if bodies is None:
            if trouble:
                return Row(sample.sample_id, "failed", self._portable(trouble))
            return Row(sample.sample_id, "absent", "no skeleton file")
        try:
            return make_skeleton_row(sample.sample_id, self.dataset, bodies)
        except Exception as error:  # the per-sample boundary
            return Row(sample.sample_id, "failed", self._portable(f"{sample.skeleton}: {_tell(error)}"))

    def _strip_row(self, sample: Sample, bodies: Bodies | None, settings: StripSettings) -> Row:
        try:
            return make_strip_row(sample, self.dataset, bodies, settings, self.decoder, self.finder)
        except Exception as error:  # the per-sample boundary
            return Row(sample.sample_id, "failed", self._portable(_tell(error)))

    def _portable(self, reason: str) -> str:
        return reason.replace(f"{self.source}/", "")


@dataclass(frozen=True)
class RecordedRows:
    """The rows of one sample.

    Args:
        missing: a file of the sample that the plan found and that is not there now.
    """

    skeleton: Row | None
    strip: Row | None
    missing: Path | None = None


def check_source(source: Path, rows: RecordedRows) -> None:
    """Tell a file that was removed, which is its sample's own trouble, from a source that is not there any more: a disk
    that was unplugged, a mount that was lost. All rows to come would fail then, and say nothing of their samples.

    Args:
        source: folder of the data set.

    Raises:
        SourceError: a file of the sample is missing, and so is everything beside it.
    """
    missing = rows.missing
    if missing is None:
        return
    for folder in (source, missing.parent):
        if _is_gone(folder):
            raise SourceError(
                f"{folder}: it was there when the build began and is gone or empty now ({missing.name} is missing); "
                "finished shards are kept: bring it back and run the same command again"
            )


def _missing_file(sample: Sample) -> Path | None:
    return next((p for p in (sample.video, sample.skeleton) if p is not None and not _exists(p)), None)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a lost mount answers so
        return False


def _is_gone(folder: Path) -> bool:
    """Not there, not to be read, or empty, as the place is where something was mounted."""
    try:
        return next(folder.iterdir(), None) is None
    except OSError:
        return True


def _tell(error: Exception) -> str:
    return str(error) if isinstance(error, SampleError) else f"{type(error).__name__}: {error}"
