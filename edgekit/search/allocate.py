"""The choice of widths as an integer program: least noise under linear costs.

One binary variable for every layer's weights (four bits) and one for every tensor (16 bits).
Noise, flash and cycles are sums over what was chosen; RAM is bounded at every step of the program.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from quantizer.sensitivity import Sensitivity


@dataclass(frozen=True)
class Costs:
    """What widths change, against all 8 bits.

    Attributes:
        flash, cycles: of the model in 8 bits.
        flash_saved: bytes by layer that four bits save.
        weight_cycles, tensor_cycles: by layer or tensor, what the narrower weights or the wider
            tensor add to the cycles.
        steps: for every step of the program the bytes that are alive whatever the widths, and
            those that double, by tensor.
    """

    flash: int
    cycles: int
    flash_saved: Mapping[str, int]
    weight_cycles: Mapping[str, int]
    tensor_cycles: Mapping[str, int]
    steps: tuple[tuple[int, Mapping[str, int]], ...]

    def flash_of(self, choice: Choice) -> int:
        return self.flash - sum(self.flash_saved.get(name, 0) for name in choice.narrow)

    def cycles_of(self, choice: Choice) -> int:
        narrow = sum(self.weight_cycles.get(name, 0) for name in choice.narrow)
        return self.cycles + narrow + sum(self.tensor_cycles.get(n, 0) for n in choice.wide)

    def arena_of(self, choice: Choice) -> int:
        """The most bytes alive at one step."""
        return max(
            fixed + sum(n * (2 if name in choice.wide else 1) for name, n in tensors.items())
            for fixed, tensors in self.steps
        )


@dataclass(frozen=True)
class Limits:
    """Flash and arena in bytes, cycles; None is no limit. `narrow` and `wide` say whether four-bit
    weights and 16-bit tensors may be chosen at all."""

    flash: float | None = None
    arena: float | None = None
    cycles: float | None = None
    narrow: bool = True
    wide: bool = True


@dataclass(frozen=True)
class Choice:
    """Layers with four-bit weights and tensors of 16 bits; the rest has 8."""

    narrow: frozenset[str] = field(default_factory=frozenset)
    wide: frozenset[str] = field(default_factory=frozenset)

    @property
    def weight_bits(self) -> dict[str, int]:
        return {"*": 8, **dict.fromkeys(sorted(self.narrow), 4)}

    @property
    def activation_bits(self) -> dict[str, int]:
        return {"*": 8, **dict.fromkeys(sorted(self.wide), 16)}


def allocate(sensitivity: Sensitivity, costs: Costs, limits: Limits) -> Choice | None:
    """The choice with the least predicted noise within `limits`; None where there is none.

    Solved to optimality by HiGHS. Of choices with equal noise the narrower one is taken.
    """
    import highspy

    h = highspy.Highs()
    h.setOptionValue("output_flag", False)
    h.setOptionValue("threads", 1)
    h.setOptionValue("mip_rel_gap", 0.0)
    base = sensitivity.noise({}, {}) or 1.0
    narrow: dict[str, Any] = {}
    wide: dict[str, Any] = {}
    for name, by_bits in sensitivity.weights.items():
        if limits.narrow and 4 in by_bits:
            narrow[name] = h.addBinary(obj=1e3 * (by_bits[4] - by_bits[8]) / base)
    for name, by_bits in sensitivity.tensors.items():
        # Wider where that helps by more than nothing only.
        gain = 1e3 * (by_bits[16] - by_bits[8]) / base
        if limits.wide and gain < 0:
            wide[name] = h.addBinary(obj=gain + 1e-6)
    constraints: list[tuple[float, list[tuple[int, Any]]]] = []
    if limits.flash is not None:
        saved = [(-costs.flash_saved.get(name, 0), x) for name, x in narrow.items()]
        constraints.append((limits.flash - costs.flash, saved))
    if limits.cycles is not None:
        terms = [(costs.weight_cycles.get(name, 0), x) for name, x in narrow.items()]
        terms += [(costs.tensor_cycles.get(name, 0), x) for name, x in wide.items()]
        constraints.append((limits.cycles - costs.cycles, terms))
    if limits.arena is not None:
        for fixed, tensors in costs.steps:
            doubled = [(n, wide[name]) for name, n in tensors.items() if name in wide]
            constraints.append((limits.arena - fixed - sum(tensors.values()), doubled))
    for room, terms in constraints:
        real = [(n, x) for n, x in terms if n]
        if real:
            h.addConstr(h.qsum(n * x for n, x in real) <= room)
        elif room < 0:
            return None  # no choice changes this cost
    if not narrow and not wide:
        return Choice()
    if h.minimize() != highspy.HighsStatus.kOk:
        return None
    if h.getModelStatus() != highspy.HighsModelStatus.kOptimal:
        return None
    return Choice(
        frozenset(name for name, x in narrow.items() if h.val(x) > 0.5),
        frozenset(name for name, x in wide.items() if h.val(x) > 0.5),
    )
