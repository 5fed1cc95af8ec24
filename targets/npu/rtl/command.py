"""A command as the compute engine holds it: fields of both kinds, where they are used."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.data import StructLayout

from targets.npu.isa import Add, Field, Opcode, Window

#: Bits of a command that `Compute` takes.
COMMAND_BITS = 32 * Window.words

#: `conv`, `sum`, `max` and `add` are the opcode, none of them DEPTHWISE; `taps` and `tail` are a
#: bit for each of the four pixels; `two` and `four` say how many pixels CONV packs.
COMMAND = StructLayout({
    "conv": 1, "sum": 1, "max": 1, "add": 1, "two": 1, "four": 1,
    "a_base": 20, "a_plane": 20, "b_base": 20, "count": 20,
    "in_w": 12, "in_h": 12, "out_w": 12, "out_h": 12,
    "kernel_h": 8, "kernel_groups": 8, "taps": 4, "tail": 4,
    "stride_h": 4, "stride_w": 4, "step_h": 6, "step_w": 6,
    "pad_top": 8, "pad_left": 8, "pad": 8, "uniform": 1, "blocks": 12, "groups": 12,
    "o_base": 20, "o_plane": 20, "o_blocks": 12, "w_base": 16, "p_base": 16,
    "zero_point": signed(8), "low": signed(8), "high": signed(8),
})  # fmt: skip


def take(m: Module, words: Value, enable: Value) -> Any:
    """A register of COMMAND that takes the 14 words in a cycle of `enable`."""
    held: Any = Signal(COMMAND, name="held", reset_less=True)
    opcode = words[:8]
    add = opcode == Opcode.ADD
    fields = {name: _bits(words, field) for name, field in Window.fields.items()}
    for name in ("a_base", "o_base", "p_base", "zero_point", "low", "high"):
        fields[name] = Mux(add, _bits(words, Add.fields[name]), fields[name])
    for name in ("b_base", "count"):
        fields[name] = _bits(words, Add.fields[name])
    for name in ("taps", "tail"):
        fields[name] = (1 << fields[name]) - 1
    fields["uniform"] = fields["uniform"] | add
    fields["o_blocks"] = Mux(add, 1, fields["o_blocks"])
    taps = _bits(words, Window.fields["taps"])
    fields["two"], fields["four"] = taps == 2, taps == 4
    for name, code in (("conv", Opcode.CONV), ("sum", Opcode.SUM), ("max", Opcode.MAX)):
        fields[name] = opcode == code
    fields["add"] = add
    with m.If(enable):
        m.d.sync += [getattr(held, name).eq(fields[name]) for name in COMMAND.members]
    return held


def _bits(words: Value, field: Field) -> Value:
    low = 32 * field.word + field.low
    return words[low : low + field.width]


__all__ = ["COMMAND", "COMMAND_BITS", "take"]
