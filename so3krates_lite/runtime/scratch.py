"""A scratch file: what memory has no room for, while a process needs it.

The file has no name. Whatever happens to the process, its room on disk is given back.
"""

from __future__ import annotations

import os
import tempfile
import weakref
from pathlib import Path

from so3krates_lite.errors import UserError


class Scratch:
    """Bytes that are appended, and read at any place, by several threads if need be.

    Args:
        folder: on which disk; it is made where it is missing

    Raises:
        UserError: nothing can be written there, or no more
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.size = folder, 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115
        except OSError as error:
            raise UserError(
                f"No scratch file can be made in {folder} ({error.strerror}): name a folder that "
                f"you may write to (scratch=, --scratch)."
            ) from None
        weakref.finalize(self, self._file.close)

    def append(self, content: bytes) -> int:
        """Write at the end; returns the place where it begins."""
        place, left = self.size, memoryview(content)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise UserError(
                f"The scratch file in {self.folder} cannot grow beyond {self.size / 1e9:.2f} GB "
                f"({error.strerror}): make room there, or name another folder (scratch=, "
                f"--scratch)."
            ) from None
        self.size += len(content)
        return place

    def read(self, place: int, length: int) -> bytes:
        """What stands at a place."""
        return os.pread(self._file.fileno(), length, place)
