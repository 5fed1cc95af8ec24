"""Checks of a command's words as they arrive, one a cycle."""

from __future__ import annotations

from functools import reduce
from operator import or_
from typing import Any

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib.wiring import Component, In, Out

from targets.npu.config import Accelerator
from targets.npu.isa import KINDS, MAGIC, Field, Head, Load, Opcode, Space, Window
from targets.npu.rtl.fields import Check, Kind, kinds
from targets.npu.rtl.pipe import flag, register

#: Cycles from a word to its share in `count`, `head` and `short`.
LATENCY = 5
_LOAD, _CONV = Load.fields, Window.fields


class Checker(Component):
    """`valid`: `word` is word `at` of a command of kind `kind` (a bit each, as `kinds` has them).

    `begin` clears what was found. Found are: `head`, not a stream or for another configuration;
    `short`, HEAD's length is not `length`; `count`, everything else.
    """

    def __init__(self, config: Accelerator) -> None:
        self.config = config
        self.kinds = kinds(config)
        super().__init__({
            "begin": In(1), "valid": In(1), "word": In(32), "at": In(4),
            "kind": In(len(self.kinds)), "opcode": In(8), "length": In(32),
            "head": Out(1), "short": Out(1), "count": Out(1),
        })  # fmt: skip

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = register(m, self.word, "word_in")
        valid = flag(m, self.valid, "valid_in")
        # One bit for each word of each kind: this is it.
        places: dict[tuple[int, int], Signal] = {}
        for number, kind in enumerate(self.kinds):
            for at in range(1, kind.words):
                here = self.valid & self.kind[number] & (self.at == at)
                places[number, at] = flag(m, here, f"place{number}_{at}")
        wrong = [self._words_alone(m, word, places), self._together(m, word, places)]
        self._flag(m, self.count, [w for group in wrong for w in group])
        self._head(m, word, valid, places)
        return m

    def _flag(self, m: Module, set_by: Signal, found: list[Any]) -> None:
        """`set_by` any of `found` two cycles before, cleared by `begin`."""
        some = flag(m, reduce(or_, found), f"{set_by.name}_found")
        with m.If(self.begin):
            m.d.sync += set_by.eq(0)
        with m.Elif(some):
            m.d.sync += set_by.eq(1)

    def _words_alone(
        self, m: Module, word: Signal, places: dict[tuple[int, int], Signal]
    ) -> list[Any]:
        """Ranges of fields and reserved bits."""
        users: dict[Check, list[Signal]] = {}
        for number, kind in enumerate(self.kinds):
            for at, checks in enumerate(kind.checks, 1):
                for check in checks:
                    users.setdefault(check, []).append(places[number, at])
        found = []
        for number, (check, where) in enumerate(users.items()):
            broken = register(m, check.broken_by(word), f"broken{number}")
            here = flag(m, reduce(or_, where), f"here{number}")
            found.append(broken & here)
        return found

    def _together(
        self, m: Module, word: Signal, places: dict[tuple[int, int], Signal]
    ) -> list[Any]:
        """Fields that contradict each other: isa's `_check_window` and `_check_transfer`.

        A property of one field is kept until the command's last word, where they are compared.
        """
        kept: dict[str, Signal] = {}
        ends: dict[str, Signal] = {}
        conv = register(m, self.opcode == Opcode.CONV, "is_conv")
        store = register(m, self.opcode == Opcode.STORE, "is_store")

        def keep(kind: Opcode, name: str, field: Field, test: Any) -> None:
            kept[name] = Signal(name=name)
            with m.If(places[self._kind(kind), field.word]):
                m.d.sync += kept[name].eq(test(_bits(word, field)))

        taps, tail = _CONV["taps"], _CONV["tail"]
        assert taps.word == tail.word
        keep(Opcode.CONV, "more_tail", taps, lambda v: _bits(word, tail) > v)
        keep(Opcode.CONV, "three_taps", taps, lambda v: v == 3)
        keep(Opcode.CONV, "more_taps", taps, lambda v: v > 1)
        keep(Opcode.CONV, "more_blocks", _CONV["blocks"], lambda v: v != 1)
        keep(Opcode.LOAD, "unaligned", _LOAD["offset"], lambda v: v[:2].any())
        keep(Opcode.LOAD, "outside_a", _LOAD["space"], lambda v: v != Space.A)
        keep(Opcode.LOAD, "outside_w", _LOAD["space"], lambda v: v != Space.W)
        keep(Opcode.LOAD, "half", _LOAD["half"], lambda v: v)
        keep(Opcode.LOAD, "filled", _LOAD["fill"], lambda v: v.any())
        keep(Opcode.LOAD, "more_channels", _LOAD["channels"], lambda v: v != 1)
        keep(Opcode.LOAD, "planes", _LOAD["plane"], lambda v: v.any())
        for kind in (Opcode.CONV, Opcode.LOAD):
            place = places[self._kind(kind), KINDS[kind].words - 1]
            # The last word's own property is kept a cycle after its place.
            ends[kind.name] = flag(m, place, f"end_{kind.name}")
        k = kept
        window = k["more_tail"] | (k["more_blocks"] & ~conv)
        window |= conv & (k["three_taps"] | (k["more_taps"] & k["more_blocks"]))
        unused = k["unaligned"] | k["more_channels"] | k["filled"] | k["planes"]
        move = Cat(
            k["outside_a"] & unused,
            k["half"] & k["outside_w"],
            store & (k["outside_a"] | k["filled"] | k["half"]),
        ).any()
        return [
            flag(m, ends["CONV"] & window, "window_wrong"),
            flag(m, ends["LOAD"] & move, "move_wrong"),
        ]

    def _head(
        self, m: Module, word: Signal, valid: Signal, places: dict[tuple[int, int], Signal]
    ) -> None:
        head = self._kind(Opcode.HEAD)
        expected = {"magic": MAGIC, "config": self.config.word}
        found = []
        for name, value in expected.items():
            differs = register(m, word != value, f"{name}_differs")
            here = places[head, Head.fields[name].word]
            found.append(differs & flag(m, here, f"{name}_here"))
        self._flag(m, self.head, found)
        differs = register(m, word != self.length, "length_differs")
        here = places[head, Head.fields["length"].word]
        self._flag(m, self.short, [differs & flag(m, here, "length_here")])

    def _kind(self, opcode: Opcode) -> int:
        return next(i for i, kind in enumerate(self.kinds) if opcode in kind.opcodes)


def kind_of(opcode: Any, kind: Kind) -> Any:
    """1 where the byte `opcode` is one of the kind's."""
    return reduce(or_, [opcode == int(code) for code in kind.opcodes])


def _bits(word: Any, field: Field) -> Any:
    return word[field.low : field.low + field.width]


__all__ = ["LATENCY", "Checker", "kind_of"]
