"""Instructions of programs in qemu-user: a plugin that QEMU loads, compiled on first use."""

from __future__ import annotations

import functools
import re
import subprocess
from pathlib import Path

from edgekit.devices.firmware.counter import DESCRIPTOR
from edgekit.errors import EdgekitError
from edgekit.toolchain.host import host_library

_SOURCE = Path(__file__).parent / "count_plugin" / "count.c"
_VERSION = re.compile(r"version (\d+)\.(\d+)")
#: QEMU 9.0 takes no plugins for version 1 of its API any more, older ones none for version 2. What
#: the plugin uses is the same in both.
_SECOND_API = (9, 0)


def count_plugin(qemu: str) -> Path:
    """The plugin for the program `qemu`, one of qemu-user's.

    Raises:
        EdgekitError: E603 where it is no QEMU, E50x where the plugin cannot be compiled.
    """
    api = 2 if _version(qemu) >= _SECOND_API else 1
    defines = {"EK_PLUGIN_API": str(api), "EK_EMULATOR_COUNTER": str(DESCRIPTOR)}
    return host_library([_SOURCE], defines=defines, flags=("-fvisibility=hidden",))


@functools.cache
def _version(qemu: str) -> tuple[int, int]:
    try:
        done = subprocess.run([qemu, "--version"], capture_output=True, text=True, check=False)
        said = done.stdout
    except OSError as error:
        said = str(error)
    found = _VERSION.search(said)
    if found is None:
        raise EdgekitError(
            "E603", f"'{qemu} --version' names no version", details=said.splitlines()[:3]
        )
    return int(found[1]), int(found[2])
