"""matmul of int8 tensors: rows of a with rows of the transposed b, four by four.

A vector holds 16 numbers of a row, and an accumulator the sums of one row of a with one of b in
four lanes. With a' = a - za and b' = b - zb the sum of a' b' is that of a b less zb times the sum
of a's row, less za times that of b's row, and depth za zb: two sums that are there once for each
row. Rows that are no multiple of 16, and a right operand that is not transposed, are copied to
scratch, zeros behind them.

A part is some rows of one product of the batch. Every part makes the sums and the copy of b that it
needs, hence rows are cut only as finely as that is little beside the products.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from math import prod
from typing import Any

from codegen.a64 import padding, requant
from codegen.a64.cores import CHUNK, divisor
from codegen.a64.requant import NARROW, VectorRequant
from codegen.a64.routine import Routine
from codegen.kernel import (
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Template,
    Written,
)
from codegen.portable.matmul import indexed, layer_spec

#: Rows of a and of b in a tile.
TILE = 4
#: Sums of more products of two numbers below 256 could leave 32 bits.
MOST_DEPTH = (1 << 31) // (255 * 255)
#: About what a call's arguments take, and what the C around takes for a product of the batch.
CALL, DRIVER = 12, 20
#: Parts that are enough, and instructions of products for one that each part does again.
PARTS, WORTH = 16, 4


def candidates(layer: Layer, family: str) -> list[Candidate]:
    spec, names, constants = layer_spec(layer, family, f"{family}_matmul")
    p = spec.params
    rows, depth, _ = p["size"]
    if {o.dtype for o in spec.operands} != {"int8"}:
        raise NotApplicable("operands or result are not int8")
    if depth > MOST_DEPTH:
        raise NotApplicable(f"{depth} numbers to a dot product")
    m = _Matmul(p)
    each = m.of_b + m.products + m.sums.cost(rows=rows, chunks=m.rounds(m.chunks))
    each += Cost(CALL + DRIVER, CALL + DRIVER)
    if m.copies_a:
        each += padding.cost(m.copy, m.row, 0, rows, 0)
    return [Candidate(spec, names, constants, cost=each * m.batch)]


def write(spec: KernelSpec) -> Written:
    return _Matmul(spec.params).written(spec)


class _Matmul:
    """One layer: `chunks` of 16 numbers in a row, `pitch` bytes from one to the next."""

    def __init__(self, p: dict[str, Any]) -> None:
        self.p = p
        self.rows, self.depth, self.columns = p["size"]
        self.dot = p["template"] == "a64_dot_matmul"
        self.chunks = -(-self.depth // CHUNK)
        self.pitch = CHUNK * self.chunks
        self.padded_columns = -(-self.columns // TILE) * TILE
        self.together = min(TILE, self.rows)
        self.copies_a = self.depth % CHUNK != 0
        self.copies_b = not (
            p["transpose_b"] and self.pitch == self.depth and self.padded_columns == self.columns
        )

    @property
    def how(self) -> VectorRequant:
        p = self.p
        relu, unshifted = p["qmin"] == p["zero_point"], p["shift"] >= 0 and p["multiplier"] != 0
        largest = self.depth * 255 * 255 * p["multiplier"] * 2.0 ** (p["shift"] - 31)
        return VectorRequant(
            "relu" if relu else "lanes" if unshifted else "general",
            p["shift"] > 0,
            p["shift"] <= 0 and largest < NARROW,
            p["zero_point"],
            p["qmin"],
            p["qmax"],
        )

    @property
    def _unrolled(self) -> int:
        return divisor(self.chunks, 4)

    def rounds(self, chunks: int) -> int:
        return chunks // self._unrolled

    @property
    def batch(self) -> int:
        return prod(length for length, *_ in self.p["batch"])

    @property
    def row(self) -> tuple[int, int, int]:
        """Bytes in front of a copied row, in it, and behind it."""
        return 0, self.depth, self.pitch - self.depth

    @property
    def of_b(self) -> Cost:
        """What is done once for the right operand of a product."""
        found = self.sums.cost(rows=self.padded_columns, chunks=self.rounds(self.chunks))
        if self.transposes:
            blocks = -(-self.columns // CHUNK)
            return found + self.transpose.cost(
                blocks=blocks, depth=self.depth, last=Fraction(1, blocks)
            )
        if self.copies_b:
            found += padding.cost(self.copy, self.row, 0, self.columns, 0)
        return found

    @property
    def products(self) -> Cost:
        """All rows of one product; rows that are left over are a call of their own."""
        trips = {"columns": self.columns // TILE, "chunks": self.rounds(self.chunks)}
        found = self.tiles.cost(tiles=self.rows // self.together, **trips) + Cost(CALL, CALL)
        if self.rows % self.together:
            found += self.tiles.cost(tiles=1, **trips) + Cost(CALL, CALL)
        return found

    @property
    def block(self) -> int:
        """Rows of a part; those that are no whole tile belong to the last one."""
        tiles = self.rows // self.together
        most = self.products.instructions // (WORTH * self.of_b.instructions)
        blocks = max(1, min(tiles, most, -(-PARTS // self.batch)))
        return self.together * -(-tiles // blocks)

    @property
    def blocks(self) -> int:
        """Parts of one product of the batch."""
        return -(-(self.rows - self.rows % self.together) // self.block)

    @property
    def sums(self) -> Routine:
        """Sums of rows."""
        return _sums(self.chunks, self._unrolled, self.dot)

    @property
    def transposes(self) -> bool:
        return not self.p["transpose_b"]

    @property
    def transpose(self) -> Routine:
        """The right operand to rows."""
        return _transpose(self.depth, self.columns, self.pitch)

    @property
    def copy(self) -> Routine:
        """Rows with zeros behind them."""
        return padding.rows(0, self.depth, self.pitch - self.depth, self.depth, 0)

    @property
    def tiles(self) -> Routine:
        """``(a, b, of_b, of_a, y, tiles)``: rows of a, so many tiles, with all rows of b; what to
        add for each row of both."""
        p, how, n = self.p, self.how, self.together
        r = Routine("a64_matmul", "const int8_t *a", "const int8_t *b", "const int32_t *of_b",
                    "const int32_t *of_a", "int8_t *y", "int32_t tiles")  # fmt: skip
        left = [f"x{9 + i}" for i in range(n)]
        right = ["x13", "x14", "x15", "x16"]
        ys = [f"x{19 + i}" for i in range(n)]
        r("mov w7, w5")
        r.constant("w5", p["multiplier"])
        r.constant("w6", min(p["shift"], 0))
        if how.left:
            r.constant("w27", p["shift"])
        with r.loop("tiles", "w7"):
            _rows(r, left, "x0", self.pitch)
            _rows(r, ys, "x4", self.columns)
            _rows(r, right, "x1", self.pitch)
            r("mov x8, x2")
            if self.columns >= TILE:
                r(f"mov x23, #{self.columns // TILE}")
                with r.loop("columns", "x23"):
                    self._tile(r, left, right, ys, TILE)
            if self.columns % TILE:
                self._tile(r, left, right, ys, self.columns % TILE)
            for name, step in {"x0": self.pitch, "x4": self.columns, "x3": 4}.items():
                r.add(name, name, n * step)
        return r

    def _tile(
        self, r: Routine, left: list[str], right: list[str], ys: list[str], columns: int
    ) -> None:
        """Results of some rows with the next four rows of b, of which `columns` exist."""
        n, how = len(left), self.how
        sums = [[16 + 4 * i + j for j in range(TILE)] for i in range(n)]
        r(*(f"movi v{v}.4s, #0" for row in sums for v in row))
        multiply = _dot if self.dot else _products
        rounds = self.rounds(self.chunks)
        if rounds > 1:
            r(f"mov x24, #{rounds}")
            with r.loop("chunks", "x24"):
                multiply(r, sums, left, right, self._unrolled)
        else:
            multiply(r, sums, left, right, self._unrolled)
        for name in left:
            r.add(name, name, -self.pitch)
        for name in right:
            r.add(name, name, 3 * self.pitch)
        for a, b in ((0, 1), (2, 3), (0, 2)):
            r(*(f"addp v{row[a]}.4s, v{row[a]}.4s, v{row[b]}.4s" for row in sums))
        # What does not depend on both, then what requantizes.
        r("ldr q0, [x8], #16", "ldr q1, [x3]" if n == TILE else "mov x25, x3")
        found = [row[0] for row in sums]
        for i, v in enumerate(found):
            if n == TILE:
                r(f"dup v2.4s, v1.s[{i}]")
            else:
                r("ld1r {v2.4s}, [x25], #4")
            r(f"add v{v}.4s, v{v}.4s, v0.4s", f"add v{v}.4s, v{v}.4s, v2.4s")
        operands = ["w5", "w6", "w27"][: how.operands]
        r(*(f"dup v{i}.4s, {name}" for i, name in enumerate(operands)))
        spare = len(operands)
        requant.emit(r, how, [(v, list(range(spare))) for v in found], spare)
        requant.fixed(r, how, spare)
        requant.pack(r, how, found, spare)
        for i, y in enumerate(ys):
            requant.store(r, found[0], 4 * i, columns, y)

    # ---- text

    @property
    def scratch_bytes(self) -> int:
        """Sums of rows of b and a, then copies of b and a."""
        found = 4 * (self.padded_columns + self.rows) + CHUNK
        found += self.copies_b * self.padded_columns * self.pitch
        return int(found + self.copies_a * self.rows * self.pitch)

    def written(self, spec: KernelSpec) -> Written:
        """The driver in C, and its routines."""
        p, n, pitch, depth = self.p, self.together, self.pitch, self.depth
        (za, zb), copy, sums = p["zeros"], self.copy, self.sums
        of_a = 4 * self.padded_columns
        copy_b = of_a + 4 * self.rows
        copy_a = copy_b + self.copies_b * self.padded_columns * pitch
        _, at_a, at_b = indexed(p)
        lines = [
            f"const int32_t block = (int32_t)begin % {self.blocks};",
            f"const int32_t count = ek_min({self.blocks} - block, (int32_t)(end - begin));",
            f"const int32_t row = block * {self.block};",
            # Rows that are left over belong to the last part.
            f"const int32_t rows = block + count < {self.blocks} ? count * {self.block} : "
            f"{self.rows} - row;",
            *_indices(p["batch"], self.blocks),
            f"const int8_t *left = a{at_a} + row * {depth};",
            f"int8_t *const to = y + (batch * {self.rows} + row) * {self.columns};",
        ]
        if self.copies_b:
            lines.append(f"int8_t *const right = (int8_t *)memory + {copy_b};")
        else:
            lines.append(f"const int8_t *const right = b{at_b};")
        if self.transposes:
            lines.append(f"{self.transpose.name}(b{at_b}, right);")
        elif self.copies_b:
            lines.append(f"{copy.name}(right, b{at_b}, 0, {self.columns}, 0);")
        if self.copies_a:
            lines.append(f"{copy.name}((int8_t *)memory + {copy_a}, left, 0, rows, 0);")
            lines.append(f"left = (int8_t *)memory + {copy_a};")
        lines += [
            f"{sums.name}(right, of_b, {self.padded_columns}, {-za}, {depth * za * zb});",
            f"{sums.name}(left, of_a, rows, {-zb}, 0);",
            f"{self.tiles.name}(left, right, of_b, of_a, to, rows / {n});",
        ]
        if self.rows % n:
            again = f"rows - {n}"
            call = (
                f"{self.tiles.name}(left + ({again}) * {pitch}, right, of_b, of_a + ({again}), "
                f"to + ({again}) * {self.columns}, 1);"
            )
            lines += [f"if (rows % {n} != 0) {{", f"    {call}", "}"]
        lines.append("begin += (uint32_t)count;")
        units = self.batch * self.blocks
        head = "const int8_t *a, const int8_t *b, int8_t *y, uint8_t *memory"
        whole = "    uint32_t begin = 0u;\n    const uint32_t end = 1u;\n" if units == 1 else ""
        text = (
            f"void {spec.name}({head}{', uint32_t begin, uint32_t end' if units > 1 else ''})\n"
            f"{{\n{whole}    int32_t *const of_b = (int32_t *)(void *)memory;\n"
            f"    int32_t *const of_a = (int32_t *)(void *)(memory + {of_a});\n"
            f"    while (begin < end) {{\n{''.join(f'        {line}{chr(10)}' for line in lines)}"
            f"    }}\n}}\n"
        )
        routines = [sums, self.tiles] + ([self.transpose] if self.transposes else [])
        if self.copies_a or (self.copies_b and not self.transposes):
            routines.append(copy)
        parts = {r.name: r.text() for r in routines}
        return Written(text, parts, self.scratch_bytes, units if units > 1 else 0)


def _indices(batch: list[list[int]], blocks: int) -> list[str]:
    """C text: which product of the batch `begin` is in, and its index in each axis that `indexed`
    names."""
    lines, rest = [f"const int32_t batch = (int32_t)begin / {blocks};"], "batch"
    for i, (length, in_a, in_b) in reversed(list(enumerate(batch))):
        if in_a or in_b:
            lines.append(f"const int32_t i{i} = {rest}{f' % {length}' if i else ''};")
        rest = f"batch / {prod(n for n, *_ in batch[i:])}"
    return lines


@cache
def _sums(chunks: int, unrolled: int, dot: bool) -> Routine:
    """``(x, to, rows, factor, constant)``: of each row its sum times the factor and a constant."""
    r = Routine("a64_row_sums", "const int8_t *x", "int32_t *to", "int64_t rows",
                "int32_t factor", "int32_t constant")  # fmt: skip
    if dot:
        r("movi v1.16b, #1")
    with r.loop("rows", "x2"):
        r("movi v2.4s, #0")
        step = ["ldr q0, [x0], #16"]
        if dot:
            step.append("sdot v2.4s, v0.16b, v1.16b")
        else:
            step += ["saddlp v0.8h, v0.16b", "sadalp v2.4s, v0.8h"]
        if chunks > unrolled:
            r(f"mov x9, #{chunks // unrolled}")
            with r.loop("chunks", "x9"):
                r(*(step * unrolled))
        else:
            r(*(step * chunks))
        r("addv s2, v2.4s", "fmov w10, s2", "madd w10, w10, w3, w4", "str w10, [x1], #4")
    return r


def _rows(r: Routine, to: list[str], first: str, distance: int) -> None:
    """Pointers to rows that lie `distance` bytes apart."""
    r(f"mov {to[0]}, {first}")
    for before, name in pairwise(to):
        r.add(name, before, distance)


def _dot(r: Routine, sums: list[list[int]], left: list[str], right: list[str], chunks: int) -> None:
    """Adds products of so many vectors of rows: four sums to a lane and SDOT."""
    for chunk in range(0, chunks, 2):
        count = min(2, chunks - chunk)
        for first, pointers in ((0, left), (8, right)):
            for i, pointer in enumerate(pointers):
                v = first + 2 * i
                if count == 2:
                    r(f"ldp q{v}, q{v + 1}, [{pointer}], #32")
                else:
                    r(f"ldr q{v}, [{pointer}], #16")
        for half in range(count):
            r(*(f"sdot v{to}.4s, v{2 * i + half}.16b, v{8 + 2 * j + half}.16b"
                for j in range(TILE) for i, to in enumerate(row[j] for row in sums)))  # fmt: skip


def _products(
    r: Routine, sums: list[list[int]], left: list[str], right: list[str], chunks: int
) -> None:
    """The same without SDOT; two products of -128 with itself do not fit 16 bits together."""
    for _ in range(chunks):
        for first, pointers in ((0, left), (4, right)):
            r(*(f"ldr q{first + i}, [{pointer}], #16" for i, pointer in enumerate(pointers)))
        for j in range(TILE):
            row = [(i, to[j]) for i, to in enumerate(sums)]
            r(*(f"smull v{8 + i}.8h, v{i}.8b, v{4 + j}.8b" for i, _ in row))
            r(*(f"smull2 v{12 + i}.8h, v{i}.16b, v{4 + j}.16b" for i, _ in row))
            r(*(f"sadalp v{to}.4s, v{first + i}.8h" for first in (8, 12) for i, to in row))


@cache
def _transpose(depth: int, columns: int, pitch: int) -> Routine:
    """``(b, to)``: [depth, columns] to rows of `depth` bytes, with zeros `pitch` bytes.

    A vector of a row of b goes to as many rows, byte by byte. The last vector begins before the end
    of the one before it; fewer columns than a vector has are read one by one.
    """
    r = Routine("a64_transpose", "const int8_t *b", "int8_t *to")
    r("movi v1.16b, #0")
    width = min(columns, CHUNK)
    rows = [f"x{i}" for i in (*range(9, 17), *range(19, 27))][:width]
    blocks = -(-columns // width)
    r(f"mov x3, #{blocks}")
    with r.loop("blocks", "x3"):
        _rows(r, rows, "x1", pitch)
        r("mov x4, x0")
        r.constant("x5", depth)
        with r.loop("depth", "x5"):
            if width == CHUNK:
                r("ldr q0, [x4]")
                r.add("x4", "x4", columns)
            else:
                r(*(f"ld1 {{v0.b}}[{i}], [x4], #1" for i in range(width)))
            r(*(f"st1 {{v0.b}}[{i}], [{row}], #1" for i, row in enumerate(rows)))
        if pitch > depth:
            for row in rows:
                requant.store(r, 1, 0, pitch - depth, row)
        r.add("x0", "x0", width)
        r.add("x1", "x1", width * pitch)
        if columns % width:
            r("cmp x3, #2")
            with r.when("last", "eq"):
                r.add("x0", "x0", columns % width - width)
                r.add("x1", "x1", (columns % width - width) * pitch)
    return r


def template(family: str) -> Template:
    """matmul of `family`."""
    offer: Callable[[Layer], list[Candidate]] = partial(candidates, family=family)
    return Template(f"{family}_matmul", ("matmul",), offer, write)


TEMPLATES = (template("a64"),)
