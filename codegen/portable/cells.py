"""What the kernels of lstm, gru and rnn share: packed constants and the C text of products.

A product of a gate reads `bias` [2 x rows] (of the input's products, then of the recurrent ones,
zero points folded in) and `scales`, pairs (multiplier, shift) for each row or, where all rows of a
gate have one, for each gate; again the input's first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from codegen.kernel import Candidate, Cost, KernelSpec, Layer, NotApplicable, Operand
from edgekit.ops import gates
from edgekit.ops.recurrent import Product, Rescale, clamps_terms

#: Instructions of one product and of one gate of one unit, as measured on the virtual Cortex-M4.
PER_PRODUCT, PER_GATE = 2, 110


@dataclass(frozen=True)
class Cell:
    """Sizes of a cell and the integers of its products, read from a layer."""

    layer: Layer
    states: int
    x: Product
    h: Product
    inner_bias: np.ndarray | None = None

    @property
    def rows(self) -> int:
        return self.weights[0].shape[0]

    @property
    def units(self) -> int:
        return self.layer.inputs[1].shape[-1]

    @property
    def weights(self) -> tuple[np.ndarray, np.ndarray]:
        """int8 W [rows, I] and R [rows, H].

        Raises:
            NotApplicable: where they are no constants.
        """
        first = 1 + self.states
        names = [v.name for v in self.layer.inputs[first:]]
        if any(name not in self.layer.constants for name in names):
            raise NotApplicable("weights that are not constant")
        return self.layer.constants[names[0]], self.layer.constants[names[1]]

    def biases(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [rows] of either product, with what zero points contribute."""
        w, r = self.weights
        bias = self.layer.constants[self.layer.inputs[3 + self.states].name].astype(np.int64)
        of_h = np.zeros(self.rows, np.int64)
        if self.inner_bias is not None:
            of_h[-len(self.inner_bias) :] = self.inner_bias
        return (
            bias - self.x.zero_point * w.astype(np.int64).sum(1),
            of_h - self.h.zero_point * r.astype(np.int64).sum(1),
        )

    def is_wide(self) -> bool:
        """Whether sums of 16-bit activations can leave int32."""
        if not self.x.wide:
            return False
        sums = (
            np.abs(b) + 32768 * np.abs(m.astype(np.int64)).sum(1)
            for b, m in zip(self.biases(), self.weights, strict=True)
        )
        return any(int(s.max()) >= 1 << 31 for s in sums)

    def terms(self) -> tuple[float, float]:
        """What the magnitudes of a gate's two terms, as integers, stay below."""
        found = []
        for p, bias, m in zip((self.x, self.h), self.biases(), self.weights, strict=True):
            most = np.abs(bias) + (32768 if p.wide else 128) * np.abs(m.astype(np.int64)).sum(1)
            power = -p.shift if p.wide else p.shift.astype(np.int64) - 31
            bound = most * np.ldexp(p.multiplier.astype(np.float64), power) * (1 + 2.0**-14) + 2
            if not p.wide:
                # Sums that leave 32 bits, or do so when shifted left, can become anything.
                wraps = np.ldexp(most.astype(np.float64), np.maximum(p.shift, 0)) >= 2.0**31
                bound = np.where(wraps, 2.0**31, bound)
            found.append(float(bound.max()))
        return found[0], found[1]

    def constants(self) -> dict[str, np.ndarray]:
        """Constant operands by name, in the order of the kernel's parameters."""
        biases = self.biases()
        if self.is_wide() and any(int(np.abs(b).max()) >= 1 << 31 for b in biases):
            raise NotApplicable("biases of more than 32 bits")
        w, r = self.weights
        return {
            "w": w,
            "r": r,
            "bias": np.concatenate(biases).astype(np.int32),
            "scales": np.stack([self._scales(self.x), self._scales(self.h)]).astype(np.int32),
            "table": (gates.sigmoid_table().astype(np.int32) - 32768).astype(np.int16),
        }

    def _scales(self, p: Product) -> np.ndarray:
        """[n, 2]: multiplier and shift, which goes to the right where all do."""
        step = self.units if self.per_gate else 1
        multiplier, shift = p.multiplier[::step].astype(np.int64), p.shift[::step].astype(np.int64)
        if not p.wide and self.goes_right:
            return np.stack([multiplier, -shift], 1)
        return np.stack([multiplier, shift], 1)

    @property
    def goes_right(self) -> bool:
        """Whether no product of 8-bit activations is shifted left."""
        return not self.x.wide and bool((self.x.shift <= 0).all() and (self.h.shift <= 0).all())

    @property
    def per_gate(self) -> bool:
        """Whether all rows of a gate have one scale in either matrix."""
        numbers = (self.x.multiplier, self.x.shift, self.h.multiplier, self.h.shift)
        by_gate = [a.reshape(-1, self.units) for a in numbers]
        return all(bool((a == a[:, :1]).all()) for a in by_gate)

    def params(self, template: str) -> dict[str, Any]:
        x, node = self.layer.inputs[0], self.layer.node
        return {
            "template": template,
            "headers": ["ek_recurrent.h"],
            "steps": x.shape[1],
            "inputs": x.shape[2],
            "units": self.units,
            "gates": self.rows // self.units,
            "per_gate": self.per_gate,
            "wide": self.is_wide(),
            "right": self.goes_right,
            "narrow": sum(self.terms()) < 2.0**31,
            "reverse": bool(node.attrs.get("reverse")),
            "clamp_terms": clamps_terms(node),
        }

    def candidate(self, template: str, params: dict[str, Any], y: Rescale) -> Candidate:
        """The kernel with the layer's operands; constant states are constants like any other."""
        layer, constants = self.layer, self.constants()
        operands, names = [], []
        given: dict[str, np.ndarray] = {}
        for name, value in zip(("x", "h0", "c0"), layer.inputs[: 1 + self.states], strict=False):
            if value.name in layer.constants:
                given[name] = layer.constants[value.name]
                operands.append(Operand(name, value.dtype, value.size, "constant"))
            else:
                names.append(value.name)
                operands.append(Operand(name, value.dtype, value.size, "input"))
        operands += [Operand(n, str(c.dtype), c.size, "constant") for n, c in constants.items()]
        for name, value in zip(("y", "h", "c"), layer.outputs, strict=False):
            operands.append(Operand(name, value.dtype, value.size, "output"))
        params |= {"y": list(y)}
        spec = KernelSpec(layer.node.op, "c99", tuple(operands), params)
        w, r = self.weights
        steps = layer.inputs[0].shape[1]
        work = steps * (PER_PRODUCT * (w.size + r.size) + PER_GATE * self.rows)
        return Candidate(
            spec, tuple(names), {**given, **constants}, cost=Cost(work, work + work // 2)
        )


def signature(spec: KernelSpec, scratch: str = "") -> str:
    """The kernel's head. No operand is restrict: a state and its next content may be one buffer."""
    types = {"int8": "int8_t", "int16": "int16_t", "int32": "int32_t"}
    items = [
        f"{'' if o.role == 'output' else 'const '}{types[o.dtype]} *{o.name}" for o in spec.operands
    ]
    return f"void {spec.name}({', '.join([*items, *([scratch] if scratch else [])])})"


def scaled(p: dict[str, Any], kind: str, acc: str, half: int, at: str) -> str:
    """The requantization by pair `at` of scales from the accumulator `acc` of one product: of the
    input's (`half` 0) or of the recurrent one (1)."""
    count = p["gates"] * (1 if p["per_gate"] else p["units"])
    of_bytes = "ek_rec_right" if p["right"] else "ek_multiply"
    name = {"int8": of_bytes, "int16": "ek_rec_reduced"}[kind]
    scale = f"scales[2 * {at} + {2 * half * count}], scales[2 * {at} + {2 * half * count + 1}]"
    text = f"{name}({acc},\n                    {scale})"
    return f"(int32_t){text}" if kind == "int16" and p["narrow"] else text


def sums(
    p: dict[str, Any], kind: str, name: str, half: int, gates: tuple[int, int], vector: str = ""
) -> str:
    """C statements: `name`[] has the accumulators of some gates (from, to) of unit `j`, of the
    input's products (`half` 0) or of the recurrent ones (1), with `vector` in place of what these
    read."""
    units, rows = p["units"], p["gates"] * p["units"]
    matrix, columns = (("w", p["inputs"]), ("r", units))[half]
    first, count = gates[0], gates[1] - gates[0]
    dot = {"int8": "ek_rec_rows8", "int16": "ek_rec_rows16"}[kind] + ("_wide" if p["wide"] else "")
    start = ", ".join(
        f"bias[j + {half * rows + g * units}]" for g in range(gates[0], gates[1])
    )  # fmt: skip
    place = f"{matrix} + j * {columns}" + (f" + {first * units * columns}" if first else "")
    return f"""\
            {"int64_t" if p["wide"] else "int32_t"} {name}[{count}] = {{{start}}};
            {dot}({vector or ("xt", "seen")[half]}, {place}, {units * columns}, {count}, {columns},
                {name});
"""


def scaled_sum(p: dict[str, Any], kind: str, name: str, half: int, gate: int, at: int) -> str:
    """The requantization of gate `gate` of unit `j`, whose accumulator is `name`[`at`]."""
    row = str(gate) if p["per_gate"] else f"(j + {gate * p['units']})"
    return scaled(p, kind, f"{name}[{at}]", half, row)


def term(p: dict[str, Any]) -> str:
    """The C type of a gate's term: 32 bits where the sum of two is known to fit."""
    return "int32_t" if p["narrow"] else "int64_t"


def clamped(p: dict[str, Any], value: str) -> str:
    """A term, or a sum of two, as Q3.12 of int16."""
    return f"ek_rec_clamp{'' if p['narrow'] else '_wide'}({value})"


def gate(p: dict[str, Any], a: str, b: str) -> str:
    """The pre-activation of two terms."""
    if p["clamp_terms"]:
        return f"ek_rec_clamp({clamped(p, a)} + {clamped(p, b)})"
    return clamped(p, f"{a} + {b}")


def rescaled(value: str, p: Rescale | list[int]) -> str:
    """The requantization of an int32 expression into Q-numbers of int16."""
    multiplier, shift, *_ = p
    return f"ek_rec_clamp(ek_multiply({value}, {multiplier}, {shift}))"


def result(value: str, p: Rescale | list[int], kind: str) -> str:
    """The requantization of an int32 expression into a tensor of `kind`."""
    name = {"int8": "ek_requantize", "int16": "ek_requantize16"}[kind]
    return f"{name}({value}, {', '.join(str(v) for v in p)})"


def step_of(p: dict[str, Any]) -> str:
    """The step that comes n-th."""
    return f"{p['steps'] - 1} - n" if p["reverse"] else "n"
