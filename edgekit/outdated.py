"""Output folders of another edgekit, whose runtime does not go with this one's programs.

A folder carries the runtime that its model was compiled for, and goes on building as long as the
programs of boards still fit it. Where they do not, the compiler's complaint is about C that the
user never wrote: what is wrong is the folder's age.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from edgekit.devices.find import find_target
from edgekit.devices.firmware.model import RUNTIME_FOLDER, runtime_files
from edgekit.errors import EdgekitError
from edgekit.output import Output
from edgekit.version import __version__

#: Files named in the error.
_NAMED = 5


@contextmanager
def outdated(folder: Output) -> Iterator[None]:
    """What is built inside of C in `folder`.

    Raises:
        EdgekitError: E387 in place of E502 and E503 where the folder's runtime is not this
            edgekit's; with the files that differ and the first thing that the compiler said.
    """
    try:
        yield
    except EdgekitError as error:
        if error.code not in ("E502", "E503") or not (changed := changed_files(folder)):
            raise
        every = len(changed) if len(changed) <= _NAMED else _NAMED
        more = f" and {len(changed) - every} more" if len(changed) > every else ""
        theirs = folder.description.get("edgekit", "?")
        same = theirs == __version__
        which = f"another build of edgekit {theirs}" if same else f"edgekit {theirs}"
        raise EdgekitError(
            "E387",
            f"'{folder.path}' was compiled by {which} with a runtime that this one ({__version__}) "
            "cannot build its programs with",
            details=[
                f"{len(changed)} of its runtime's files differ: {', '.join(changed[:every])}{more}",
                error.message,
                *error.details[:1],
            ],
            help="compile the model again",
        ) from error


def changed_files(folder: Output) -> list[str]:
    """Names of runtime files that `folder` has otherwise than this edgekit, or has not."""
    place = folder.sources / RUNTIME_FOLDER
    accelerated = (place / "ek_npu.h").exists()
    current = runtime_files(accelerator=accelerated, gpu=find_target(folder.target).gpu)

    def same(name: str, body: bytes) -> bool:
        try:
            return (place / name).read_bytes() == body
        except OSError:
            return False

    return [name for name, body in current.items() if not same(name, body)]
