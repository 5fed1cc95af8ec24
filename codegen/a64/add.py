"""add of two tensors of one shape: thirty-two elements at a time, by one formula (`sums`)."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np

from codegen.a64.routine import Routine
from codegen.a64.sums import Sum, find
from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from codegen.overlap import sharing

#: Elements of a round, and of a part.
ROUND, PART = 32, 1024
#: Instructions of the C around.
DRIVER = 22
#: How bytes beyond whole vectors are moved.
_PIECES = ((16, "q"), (8, "d"), (4, "s"), (2, "h"), (1, "b"))
#: Registers of the factors, the operands' zero points, and the result's, shifted as it is needed.
_FACTORS, _ZEROS, _ZERO = "v31", ("v30", "v29"), "v28"
_LOW, _HIGH = "v27", "v26"


class _Add:
    """Routines for the params of a kernel."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.count = p["count"]
        self.sum = Sum(
            (p["factors"][0], p["factors"][1]), (p["zeros"][0], p["zeros"][1]), p["shift"], p["zy"],
            p["low"], p["high"],
        )  # fmt: skip
        self.unsigned = self.sum.zero_point == self.sum.low == -128

    @property
    def units(self) -> int:
        return int(-(-self.count // PART))

    @property
    def rest(self) -> int:
        return int(self.count % ROUND)

    @cached_property
    def rounds(self) -> Routine:
        r = Routine("a64_add", "const int8_t *a", "const int8_t *b", "int8_t *y", "int32_t rounds")
        self._constants(r)
        with r.loop("rounds", "w3"):
            r("ldp q0, q1, [x0], #32", "ldp q2, q3, [x1], #32")
            self._vector(r, 0, 2, 16)
            self._vector(r, 1, 3, 4)
            r("stp q16, q4, [x2], #32")
        return r

    @cached_property
    def last(self) -> Routine:
        """Elements beyond whole rounds; none behind them is touched."""
        r = Routine("a64_add_rest", "const int8_t *a", "const int8_t *b", "int8_t *y")
        self._constants(r)
        left = self.rest
        for size, kind in _PIECES:
            if left >= size:
                r(f"ldr {kind}0, [x0], #{size}", f"ldr {kind}2, [x1], #{size}")
                self._vector(r, 0, 2, 16)
                r(f"str {kind}16, [x2], #{size}")
                left -= size
        return r

    def _constants(self, r: Routine) -> None:
        s = self.sum
        for i, (factor, zero, to) in enumerate(zip(s.factors, s.zero_points, _ZEROS, strict=True)):
            r.constant("w9", factor)
            r(f"mov {_FACTORS}.s[{i}], w9", f"movi {to}.16b, #{zero & 0xFF}")
        if self.unsigned:
            r(f"movi {_ZERO}.16b, #128")
        else:
            r.constant("w9", s.zero_point << s.shift - 16)
            r(f"dup {_ZERO}.8h, w9")
        r(f"movi {_LOW}.16b, #{s.low & 0xFF}", f"movi {_HIGH}.16b, #{s.high & 0xFF}")

    def _vector(self, r: Routine, a: int, b: int, to: int) -> None:
        """Sixteen sums to the register `to`; the three behind it and v20 to v25 are overwritten."""
        s = self.sum
        sums = range(to, to + 4)
        for x, zero, wide in ((a, _ZEROS[0], sums), (b, _ZEROS[1], range(20, 24))):
            r(f"ssubl v24.8h, v{x}.8b, {zero}.8b", f"ssubl2 v25.8h, v{x}.16b, {zero}.16b")
            for i, to_i in enumerate(wide):
                r(f"sxtl{'2' if i % 2 else ''} v{to_i}.4s, v{24 + i // 2}.{'48'[i % 2]}h")
        r(*(f"mul v{v}.4s, v{v}.4s, {_FACTORS}.s[0]" for v in sums))
        r(*(f"mla v{v}.4s, v{20 + i}.4s, {_FACTORS}.s[1]" for i, v in enumerate(sums)))
        # Upper halves are the sums shifted by 16.
        r(*(f"uzp2 v{v}.8h, v{v}.8h, v{v + 1}.8h" for v in sums[::2]))
        shift, low, high = s.shift - 16, sums[0], sums[2]
        name = "sqrshrun" if self.unsigned else "sqrshrn"
        if not self.unsigned and s.zero_point:
            r(*(f"sqadd v{v}.8h, v{v}.8h, {_ZERO}.8h" for v in sums[::2]))
        r(f"{name} v{to}.8b, v{low}.8h, #{shift}", f"{name}2 v{to}.16b, v{high}.8h, #{shift}")
        if self.unsigned:
            r(f"eor v{to}.16b, v{to}.16b, {_ZERO}.16b")
        elif s.low > -128:
            r(f"smax v{to}.16b, v{to}.16b, {_LOW}.16b")
        if s.high < 127:
            r(f"smin v{to}.16b, v{to}.16b, {_HIGH}.16b")

    @property
    def cost(self) -> Cost:
        total = Cost(DRIVER, DRIVER)
        if self.count >= ROUND:
            total += self.rounds.cost(rounds=self.count // ROUND)
        if self.rest:
            total += self.last.cost()
        return total


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 tensors of the result's shape whose sum is one formula."""
    for value in (*layer.inputs, layer.output):
        if value.dtype != "int8" or value.shape != layer.output.shape:
            raise NotApplicable("tensors of other widths or shapes")
    found = find(layer)
    if found is None:
        raise NotApplicable("roundings of their own for some pairs of bytes")
    params = {
        "template": "a64_add",
        "count": layer.output.size,
        "factors": list(found.factors),
        "zeros": list(found.zero_points),
        "shift": found.shift,
        "zy": found.zero_point,
        "low": found.low,
        "high": found.high,
    }
    operands, constants, names = [], {}, []
    for letter, value in zip("ab", layer.inputs, strict=True):
        data = layer.constants.get(value.name)
        operands.append(
            Operand(letter, "int8", value.size, "input" if data is None else "constant")
        )
        if data is None:
            names.append(value.name)
        else:
            constants[letter] = np.ascontiguousarray(data)
    operands.append(Operand("y", "int8", layer.output.size, "output"))
    spec = KernelSpec("add", "a64", tuple(operands), params)
    candidate = Candidate(spec, tuple(names), constants, cost=_Add(params).cost)
    if layer.inputs[0].name in layer.constants:
        return [candidate]
    return [sharing(candidate, same=True)]


def write(spec: KernelSpec) -> Written:
    """The driver in C, and its routines."""
    add = _Add(spec.params)
    body, parts = "", []
    if add.count >= ROUND:
        parts.append(add.rounds)
        body += (
            f"    const int32_t first = (int32_t)begin * {PART};\n"
            f"    const int32_t rounds = (ek_min((int32_t)end * {PART}, {add.count}) - first) / "
            f"{ROUND};\n"
            f"    if (rounds > 0) {{\n"
            f"        {add.rounds.name}(a + first, b + first, y + first, rounds);\n    }}\n"
        )
    if add.rest:
        at = add.count - add.rest
        parts.append(add.last)
        body += (
            f"    if (begin < end && end == {add.units}u) {{\n"
            f"        {add.last.name}(a + {at}, b + {at}, y + {at});\n    }}\n"
        )
    text = (
        f"void {spec.name}(const int8_t *a, const int8_t *b, int8_t *y, uint32_t begin, "
        f"uint32_t end)\n{{\n{body}}}\n"
    )
    return Written(text, {r.name: r.text() for r in parts}, 0, units=add.units)


TEMPLATES = (Template("a64_add", ("add",), candidates, write),)
