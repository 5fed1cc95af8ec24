"""How long a stream takes, before any hardware: `timing`.

`costs` has the cycles of the hardware's registers and states (targets/npu/rtl), `durations` what
follows from a command's counts, `progress` the event model that puts them together.
"""

from __future__ import annotations

from collections.abc import Sequence

from targets.npu.config import Accelerator
from targets.npu.costs import BUS, COSTS, Bus, Costs, Timing
from targets.npu.isa import Command
from targets.npu.progress import Progress


def timing(
    commands: Sequence[Command],
    config: Accelerator,
    *,
    stream: int = 0,
    bases: Sequence[int] = (),
    bus: Bus = BUS,
    costs: Costs = COSTS,
) -> Timing:
    """When each command of a whole stream (HEAD and END included) starts and finishes.

    Args:
        stream, bases: addresses of the stream and of the regions, as far as they are known: bursts
            end at multiples of their size.

    Raises:
        ValueError: where commands wait for each other.
    """
    return Progress(commands, config, stream=stream, bases=bases, bus=bus, costs=costs).finish()
