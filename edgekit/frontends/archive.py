"""Zip archives from strangers: read by name, with bounds known before anything is unpacked."""

from __future__ import annotations

import io
import zipfile
import zlib

from edgekit.errors import EdgekitError

#: What a model file may unpack to, and how many files it may hold.
EXPANSION, BESIDES, MAX_FILES = 20, 1 << 20, 1 << 16


class Archive:
    """The files of a zip archive; nothing is ever written to disk.

    Raises:
        EdgekitError: E164 where the archive is damaged, holds a name twice, or declares more bytes
            than EXPANSION times its size (a "zip bomb").
    """

    def __init__(self, data: bytes, name: str) -> None:
        self.name = name
        try:
            self._zip = zipfile.ZipFile(io.BytesIO(data))
            entries = self._zip.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, OverflowError):
            raise self.damaged("its table of contents does not decode") from None
        self.sizes = {e.filename: e.file_size for e in entries}
        if len(self.sizes) != len(entries) or len(entries) > MAX_FILES:
            raise self.damaged(f"it lists {len(entries)} files under {len(self.sizes)} names")
        total, allowed = sum(self.sizes.values()), EXPANSION * len(data) + BESIDES
        if total > allowed:
            raise EdgekitError(
                "E164",
                f"{name} has {len(data)} bytes and claims to unpack to {total}, at most {allowed} "
                "are accepted",
                help="no framework writes such a file: take it from its source again",
            )

    def damaged(self, why: str) -> EdgekitError:
        return EdgekitError(
            "E164", f"{self.name} is a damaged archive: {why}", help="save the model again"
        )

    def read(self, file: str) -> bytes:
        """The content of one file, never more than it declares.

        Raises:
            EdgekitError: E164 where it is missing, damaged, encrypted or longer than declared.
        """
        if file not in self.sizes:
            raise self.damaged(f"'{file[:200]}' is missing")
        try:
            with self._zip.open(file) as stream:
                data = stream.read(self.sizes[file] + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError,
                NotImplementedError, OverflowError) as error:  # fmt: skip
            raise self.damaged(f"'{file[:200]}': {error}") from None
        if len(data) != self.sizes[file]:
            raise self.damaged(f"'{file[:200]}' is not as long as its table says")
        return data


def pack(files: dict[str, bytes]) -> bytes:
    """An archive of these files, stored without compression."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_STORED) as archive:
        for file, data in files.items():
            archive.writestr(file, data)
    return packed.getvalue()
