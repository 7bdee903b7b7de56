"""Links that lead out of a source: files that nobody put there would be read, and end up in a cache."""

from __future__ import annotations

import os
from pathlib import Path

from mmcl_cache.errors import SourceError


class LinkCheck:
    """Which paths below a root really lie there. The root itself may be a link.

    Args:
        root: folder of the source.
    """

    def __init__(self, root: Path) -> None:
        self._root = os.path.realpath(root)
        self._folders: dict[str, bool] = {}

    def check(self, path: str) -> None:
        """Raises SourceError where the path, or a folder above it, is a link out of the root."""
        folder = os.path.dirname(path)
        if folder not in self._folders:
            self._folders[folder] = self._is_inside(os.path.realpath(folder))
        if not self._folders[folder] or (
            os.path.islink(path) and not self._is_inside(os.path.realpath(path))
        ):
            raise SourceError(
                f"{path}: a link out of the source, to {os.path.realpath(path)}; put the files into the source, or "
                "allow such links with --follow-links"
            )

    def check_images(self, folder: str) -> None:
        """The same for everything that lies in a folder."""
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_symlink():
                    self.check(entry.path)

    def _is_inside(self, real: str) -> bool:
        return os.path.commonpath((self._root, real)) == self._root
