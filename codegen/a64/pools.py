"""average_pool2d and max_pool2d: a window at a time, 64 or 16 channels of each of its pixels.

Means are sums in 16 bits, divided by a multiplication: with n pixels, t = |sum| + n / 2 below 2^15
and M = ceil(2^31 / n), floor(t / n) is (2 t * M) >> 32, since M exceeds 2^31 / n by less than 1 and
t / n is at least 1 / n away from the next whole number. Windows are cut at the image's borders,
which is what padding amounts to; their divisors differ.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from codegen.a64.routine import Routine
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
from codegen.schedules import _window
from edgekit.ops.pooling import counts_padding
from edgekit.ops.requant import clamp_of_output

LANES = 16
#: Channels that are taken together as often as they fit, and for what is left.
WIDE, NARROW = 64, 16
#: Pixels of a window: 128 times as many, and half as many more, are below 2^15.
MAX_PIXELS = 255
#: Instructions of the C around: of all, of each window, and of each call.
DRIVER, WINDOW, CALL = 24, 9, 9


class _Pool:
    """Routines for the params of a kernel."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.mean = p["template"] == "a64_average_pool2d"
        c = p["C"]
        #: (routine, first channel, blocks)
        self.calls: list[tuple[Routine, int, int]] = []
        if c >= WIDE:
            self.calls.append((self.wide, 0, c // WIDE))
        if rest := c % WIDE // NARROW:
            self.calls.append((self.narrow, c // WIDE * WIDE, rest))
        if c % NARROW:  # the last channels, some of them again
            self.calls.append((self.narrow, c - NARROW, 1))

    @cached_property
    def wide(self) -> Routine:
        return self._routine(WIDE)

    @cached_property
    def narrow(self) -> Routine:
        return self._routine(NARROW)

    @property
    def flat(self) -> bool:
        """Whether all pixels of a window lie at the same distance."""
        p = self.p
        return bool(p["kernel"][1] == p["W"] and not any(p["pads"]))

    def _routine(self, channels: int) -> Routine:
        """Blocks of channels of one window."""
        p, vectors = self.p, channels // LANES
        r = Routine(
            "a64_mean" if self.mean else "a64_max", "const int8_t *x", "int8_t *y", "int32_t rows",
            "int32_t pixels", "int32_t blocks", "uint32_t reciprocal", "int32_t half",
        )  # fmt: skip
        x = ", ".join(f"v{i}.16b" for i in range(vectors))
        r.constant("x12", p["C"])
        if self.mean:
            r("dup v31.4s, w5", "dup v30.8h, w6")
        best = range(16, 16 + (2 if self.mean else 1) * vectors)
        with r.loop("blocks", "w4"):
            r("mov x7, x0", "mov w8, w2")
            r(*(f"movi v{v}.16b, #{0 if self.mean else 128}" for v in best))
            with r.loop("rows", "w8"):
                r("mov x9, x7", "mov w10, w3")
                with r.loop("pixels", "w10"):
                    r(f"ld1 {{{x}}}, [x9], x12")
                    for i in range(vectors):
                        if self.mean:
                            low, high = best[2 * i : 2 * i + 2]
                            r(f"saddw v{low}.8h, v{low}.8h, v{i}.8b")
                            r(f"saddw2 v{high}.8h, v{high}.8h, v{i}.16b")
                        else:
                            r(f"smax v{best[i]}.16b, v{best[i]}.16b, v{i}.16b")
                r.add("x7", "x7", p["W"] * p["C"])
            if self.mean:
                for i in range(vectors):
                    _divide(r, best[2 * i : 2 * i + 2], i)
            else:
                r(*(f"mov v{i}.16b, v{v}.16b" for i, v in enumerate(best)))
            low, high = p["clamp"]
            for name, limit, none in (("smax", low, -128), ("smin", high, 127)):
                if limit != none:
                    r(f"movi v29.16b, #{limit & 0xFF}")
                    r(*(f"{name} v{i}.16b, v{i}.16b, v29.16b" for i in range(vectors)))
            r(f"st1 {{{x}}}, [x1], #{channels}", f"add x0, x0, #{channels}")
        return r

    @cached_property
    def cost(self) -> Cost:
        p, total = self.p, Cost(DRIVER, DRIVER)
        rows, columns = ([end - start for start, end in _spans(p, axis)] for axis in (0, 1))
        for height in rows:
            for width in columns:
                trips = {"rows": height, "pixels": width}
                if self.flat:
                    trips = {"rows": 1, "pixels": height * width}
                total += Cost(WINDOW, WINDOW)
                for routine, _, blocks in self.calls:
                    total += routine.cost(blocks=blocks, **trips) + Cost(CALL, CALL)
        return total


def _divide(r: Routine, sums: range, to: int) -> None:
    """Two vectors of sums become sixteen means in the register `to`."""
    for s in sums:
        r(f"abs v24.8h, v{s}.8h", "add v24.8h, v24.8h, v30.8h")
        r("ushll v25.4s, v24.4h, #1", "ushll2 v26.4s, v24.8h, #1")
        for v in (25, 26):
            r(f"umull v27.2d, v{v}.2s, v31.2s", f"umull2 v28.2d, v{v}.4s, v31.4s")
            r(f"uzp2 v{v}.4s, v27.4s, v28.4s")
        r("uzp1 v24.8h, v25.8h, v26.8h")
        # The sign back: exclusive or with it, and minus it.
        r(f"sshr v{s}.8h, v{s}.8h, #15", f"eor v24.16b, v24.16b, v{s}.16b")
        r(f"sub v{s}.8h, v24.8h, v{s}.8h")
    r(f"uzp1 v{to}.16b, v{sums[0]}.16b, v{sums[1]}.16b")


def _spans(p: dict[str, Any], axis: int) -> list[tuple[int, int]]:
    """Rows or columns of the image in each window, as [from, to)."""
    size = p["HW"[axis]]
    found = []
    for o in range(p[("OH", "OW")[axis]]):
        start = o * p["strides"][axis] - p["pads"][axis]
        found.append((max(start, 0), min(start + p["kernel"][axis], size)))
    return found


def candidates(layer: Layer) -> list[Candidate]:
    """One, for int8 images of 16 channels or more."""
    if layer.inputs[0].dtype != "int8" or layer.output.dtype != "int8":
        raise NotApplicable("activations that are not int8")
    kernel = layer.node.attrs["kernel"]
    p: dict[str, Any] = {
        **_window.params(layer, (kernel[0], kernel[1])),
        "clamp": list(clamp_of_output(layer.node, layer.output)),
        "template": f"a64_{layer.node.op}",
    }
    if p["dilations"] != [1, 1]:
        raise NotApplicable("dilations")
    if p["C"] < NARROW:
        raise NotApplicable(f"{p['C']} channels")
    if layer.node.op == "average_pool2d":
        if counts_padding(layer.node):
            raise NotApplicable("padding that counts")
        if kernel[0] * kernel[1] > MAX_PIXELS:
            raise NotApplicable(f"windows of {kernel[0] * kernel[1]} pixels")
    spec = KernelSpec(
        layer.node.op,
        "a64",
        (
            Operand("x", "int8", layer.inputs[0].size, "input"),
            Operand("y", "int8", layer.output.size, "output"),
        ),
        p,
    )
    return [Candidate(spec, (layer.inputs[0].name,), {}, cost=_Pool(p).cost)]


def write(spec: KernelSpec) -> Written:
    """A call for every window and every kind of blocks."""
    p = spec.params
    pool = _Pool(p)
    c = p["C"]
    extent = "1, height * width" if pool.flat else "height, width"
    divisor = (
        "            const uint32_t n = (uint32_t)(height * width);\n"
        "            const uint32_t reciprocal = (0x80000000u + n - 1u) / n;\n"
    )
    numbers = "reciprocal, (int32_t)(n >> 1)" if pool.mean else "0u, 0"
    calls = "".join(
        f"            {routine.name}(from{_plus(first)}, to{_plus(first)}, {extent}, {blocks}, "
        f"{numbers});\n"
        for routine, first, blocks in pool.calls
    )

    def span(name: str, index: str, axis: int, size: int) -> str:
        start = f"{index} * {p['strides'][axis]} - {p['pads'][axis]}"
        indent = "        " + "    " * axis
        return (
            f"{indent}const int32_t {name}0 = ek_max({start}, 0);\n"
            f"{indent}const int32_t {('height', 'width')[axis]} = "
            f"ek_min({start} + {p['kernel'][axis]}, {size}) - {name}0;\n"
        )

    text = (
        f"void {spec.name}(const int8_t *x, int8_t *y, uint32_t begin, uint32_t end)\n{{\n"
        f"    for (int32_t oy = (int32_t)begin; oy < (int32_t)end; oy++) {{\n"
        f"{span('y', 'oy', 0, p['H'])}"
        f"        for (int32_t ox = 0; ox < {p['OW']}; ox++) {{\n"
        f"{span('x', 'ox', 1, p['W'])}"
        f"            const int8_t *const from = x + (y0 * {p['W']} + x0) * {c};\n"
        f"            int8_t *const to = y + (oy * {p['OW']} + ox) * {c};\n"
        f"{divisor if pool.mean else ''}{calls}        }}\n    }}\n}}\n"
    )
    routines = {routine.name: routine.text() for routine, _, _ in pool.calls}
    return Written(text, routines, 0, units=p["OH"])


def _plus(n: int) -> str:
    return f" + {n}" if n else ""


TEMPLATES = tuple(
    Template(f"a64_{op}", (op,), candidates, write) for op in ("average_pool2d", "max_pool2d")
)
