"""Small things that every block of the hardware uses."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Shape, Signal


def register(m: Module, value: Any, name: str) -> Signal:
    """Data, one cycle later; they need no reset."""
    held = Signal(Shape.cast(value.shape()), name=name, reset_less=True)
    m.d.sync += held.eq(value)
    return held


def delay(m: Module, value: Any, cycles: int, name: str) -> list[Any]:
    """Data after 0, 1, ... `cycles` cycles."""
    stages = [value]
    for number in range(1, cycles + 1):
        stages.append(register(m, stages[-1], f"{name}_{number}"))
    return stages


def flag(m: Module, value: Any, name: str, clear: Any = 0) -> Signal:
    """What starts something, one cycle later; none in a cycle after `clear`."""
    held = Signal(len(value), name=name)
    with m.If(clear):
        m.d.sync += held.eq(0)
    with m.Else():
        m.d.sync += held.eq(value)
    return held


def flags(m: Module, value: Any, cycles: int, name: str, clear: Any) -> list[Any]:
    """`flag` after 0, 1, ... `cycles` cycles."""
    stages = [value]
    for number in range(1, cycles + 1):
        stages.append(flag(m, stages[-1], f"{name}_{number}", clear))
    return stages


__all__ = ["delay", "flag", "flags", "register"]
