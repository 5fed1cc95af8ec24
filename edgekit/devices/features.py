"""CPUs that have not what a program's kernels need, and how that is told."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Iterable

from edgekit.errors import EdgekitError
from targets import Board, Target, linux

#: Kernel families without a form in C that any machine compiles.
ARM_ONLY = ("a64", "a64_dot", "neon")
_AT_HWCAP = 16


def lacks_feature(board: Board, machine: str, said: str) -> EdgekitError:
    """E656 for a program that ended with `targets.linux.LACKS_FEATURE` on `machine`."""
    lesser = board.target.runs_too
    return EdgekitError(
        "E656",
        f"board '{board.name}': {machine} cannot run programs of {board.target.name}",
        details=said.splitlines()[:5],
        help=f"compile for a CPU without it: --target {lesser[0]}" if lesser else "",
    )


def check_host(target: Target, families: Iterable[str]) -> None:
    """Refuse kernels of `families` that this process cannot call.

    Raises:
        EdgekitError: E620 where they are for another CPU than this machine's, E656 where it lacks a
            feature that they use.
    """
    own = sorted(set(families) & set(ARM_ONLY))
    if not own:
        return
    instead = f"--on {target.default_board} runs them in an emulator, --on reference is numpy"
    if not linux.runs_here(target.architecture):
        raise EdgekitError(
            "E620",
            f"kernels of {', '.join(own)} are for {target.architecture} under Linux, this machine "
            f"is {platform.system()} on {platform.machine()}",
            help=instead,
        )
    bits, has = linux.HWCAPS[target.architecture], _hwcap()
    lacking = [name for name in target.hwcaps if not bits[name] & has]
    # A 64-bit process shows the bits of its own instruction set, and has NEON.
    if lacking and linux.this_machine().endswith(target.architecture):
        raise EdgekitError(
            "E656", f"this machine's CPU lacks {', '.join(lacking)} of {target.name}", help=instead
        )


def _hwcap() -> int:
    """AT_HWCAP of this process."""
    return int(ctypes.CDLL(None).getauxval(_AT_HWCAP))
