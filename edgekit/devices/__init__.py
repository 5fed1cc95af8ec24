"""Boards: building firmware, flashing, running and profiling, on virtual and emulated boards.

    from edgekit.devices import find_board
    from edgekit.devices.firmware.build import build_firmware
    from edgekit.devices.flash import flash
    from edgekit.devices.session import connect

Importing this package loads no emulator and no compiler.
"""

from edgekit.devices.find import find_board, find_target

__all__ = ["find_board", "find_target"]
