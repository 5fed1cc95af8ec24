"""The corpus of the repository: one zip of small inputs for each entry, and crashes of the past."""

from __future__ import annotations

import zipfile
from pathlib import Path

HERE = Path(__file__).parent
CRASHES = HERE / "crashes"


def read_corpus(entry: str) -> dict[str, bytes]:
    path = HERE / "corpus" / f"{entry}.zip"
    if not path.is_file():
        return {}
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write_corpus(entry: str, folder: Path, limit: int = 22_000) -> None:
    """The files of `folder`, short ones first, until the archive would pass `limit` bytes."""
    files = sorted(folder.iterdir(), key=lambda f: (f.stat().st_size, f.name))
    path = HERE / "corpus" / f"{entry}.zip"
    path.parent.mkdir(exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for i, file in enumerate(files):
            # The date is that of the format's year 0, so that equal corpora are equal bytes.
            entry_of = zipfile.ZipInfo(f"{i:04}", (1980, 1, 1, 0, 0, 0))
            entry_of.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry_of, file.read_bytes())
            # A member costs some 90 bytes in the table at the end.
            if archive.fp is not None and archive.fp.tell() + 90 * (i + 1) > limit:
                break


def crashes(entry: str) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(CRASHES.glob(f"{entry}-*.bin"))}
