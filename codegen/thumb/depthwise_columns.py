"""The routine of a depthwise convolution over columns (`codegen.thumb.columns`).

It walks the columns of outputs of one channel after the other, four rows at a time, then two, then
one. Small kernels keep their weights in registers, and constants of the requantization where there
is room for them too; large ones read each word where it is used. A
record of the table is a channel's weight words (`codegen.thumb.taps`), then bias, multiplier and
power of the requantization.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial

from codegen.kernel import Cost, NotApplicable
from codegen.thumb import requant
from codegen.thumb.columns import CHANNELS
from codegen.thumb.routine import Routine
from codegen.thumb.taps import Product, Taps, mnemonic

#: Weight words that registers have room for besides four accumulators, two words of pixels and the
#: two pointers.
RESIDENT = 6
#: Bits of the routine's `parts`: groups of four rows, two rows, one row; an odd number of groups.
FOURS, TWO, LAST, ODD = 1, 2, 4, 8
NAMES = [*(f"r{i}" for i in range(13)), "lr"]


@dataclass(frozen=True)
class Form:
    """What the routine's text depends on; `requant` and `shift` are `codegen.thumb.requant`'s.

    `single` says that there is one column of outputs only.
    """

    taps: Taps
    stride: int
    pitch: int
    requant: str
    shift: int
    single: bool = False

    @property
    def unroll(self) -> int:
        """Groups of four rows in a round of the loop."""
        return 2 if self.taps.stride == 1 and len(self.taps.words) <= RESIDENT else 1

    @property
    def record(self) -> int:
        """Words of a channel in the table."""
        return len(self.taps.words) + 3

    @property
    def column(self) -> int:
        """Bytes from one column of outputs to the next in the buffer."""
        return CHANNELS * self.pitch * self.stride

    def passed(self, rows: int) -> int:
        """Bytes of a column that the pointer has passed after `rows` outputs."""
        return 2 * self.taps.stride * (rows - rows % 2)


@dataclass(frozen=True)
class _Registers:
    """`held` has as many of multiplier, power and zero point as there is room for."""

    weights: list[str]
    sums: list[str]
    data: list[str]
    pixels: str
    out: str
    table: str
    held: list[str]


def parts(rows: int) -> int:
    return FOURS * (rows >= 4) + TWO * (rows % 4 >= 2) + LAST * (rows % 2) + ODD * (rows // 4 % 2)


def cost(form: Form, channels: int, columns: int, rows: int) -> Cost:
    """Of one call of the routine."""
    fours = rows // 4
    rounds = -(-fours // form.unroll)
    return routine(form).cost(
        channels=channels, columns=columns, some=int(rows >= 4), eights=rounds,
        first=Fraction(fours - rounds, max(rounds, 1)), two=int(rows % 4 >= 2), last=rows % 2,
    )  # fmt: skip


@cache
def routine(form: Form) -> Routine:
    """Outputs of `channels` channels in several columns; all channels are in the buffer.

    Parameters beyond pointers: `row3`, `row` and `step` are the bytes of y from one row to the
    third next and to the next, and from column to column; `end` = y + row * (rows - rows % 4) and
    `final` = end + columns * step; `skip` and `back` are what a finished column adds to the
    pointers to pixels and y, `next` and `around` what a finished channel adds to them; `parts` is
    `parts(rows)` and `zero` the output's zero point.
    """
    r = Routine(
        "depthwise", "const int16_t *pixels", "const int32_t *table", "int8_t *y",
        "int32_t channels", "int32_t row3", "int32_t row", "const int8_t *end", "int32_t step",
        "const int8_t *final", "int32_t skip", "int32_t back", "int32_t next", "int32_t around",
        "int32_t parts", "int32_t zero",
    )  # fmt: skip
    at = r.enter(9)
    names = (
        "row3",
        "row",
        "end",
        "step",
        "final",
        "skip",
        "back",
        "next",
        "around",
        "parts",
        "zero",
    )
    place = {name: f"[sp, #{at + 4 * i}]" for i, name in enumerate(names)}
    place |= {"multiplier": "[sp, #16]", "power": "[sp, #20]", "table": "[sp, #28]",
              "channels": "[sp, #32]", "bias": "[sp]"}  # fmt: skip
    regs = _registers(form)
    # The zero point is read with the power.
    r("strd r1, r3, [sp, #28]", f"mov {regs.out}, r2", f"mov {regs.pixels}, r0")
    if form.requant != "fast":
        r(f"ldr r0, {place['zero']}", "str r0, [sp, #24]")
    sums, data, words = regs.sums, regs.data, len(form.taps.words)
    with r.until("channels", sums[0], "#0"):
        table = data[0]
        if regs.weights:
            r(f"ldr {table}, {place['table']}", f"ldmia {table}!, {{{', '.join(regs.weights)}}}")
        else:
            r(f"ldr {regs.table}, {place['table']}", f"add {table}, {regs.table}, #{4 * words}")
        r(f"ldmia {table}!, {{{', '.join(sums[:3])}}}")
        r(f"strd {sums[0]}, {sums[0]}, [sp]", f"strd {sums[0]}, {sums[0]}, [sp, #8]")
        r(f"strd {sums[1]}, {sums[2]}, [sp, #16]", f"str {table}, {place['table']}")
        r(*(f"mov {h}, {s}" for h, s in zip(regs.held[:2], sums[1:3], strict=False)))
        r(*(f"ldr {h}, {place['zero']}" for h in regs.held[2:]))
        if form.single:
            _column(r, form, regs, place)
        else:
            with r.until("columns", sums[0], sums[1]):
                _column(r, form, regs, place)
                r(f"ldrd {sums[0]}, {sums[1]}, {place['skip']}")
                r(f"add {regs.pixels}, {regs.pixels}, {sums[0]}")
                r(f"add {regs.out}, {regs.out}, {sums[1]}")
                r(f"ldr {sums[0]}, {place['end']}", f"ldrd {sums[2]}, {sums[1]}, {place['step']}")
                r(f"add {sums[0]}, {sums[0]}, {sums[2]}", f"str {sums[0]}, {place['end']}")
        r(f"ldrd {sums[2]}, {sums[3]}, {place['next']}")
        r(f"add {regs.pixels}, {regs.pixels}, {sums[2]}", f"add {regs.out}, {regs.out}, {sums[3]}")
        if form.single:
            r(f"ldr {sums[0]}, {place['end']}", f"add {sums[0]}, {sums[0]}, #1")
            r(f"str {sums[0]}, {place['end']}")
        else:
            r(f"add {sums[0]}, {sums[0]}, {sums[3]}", f"str {sums[0]}, {place['end']}")
            r(f"add {sums[1]}, {sums[1]}, #1", f"str {sums[1]}, {place['final']}")
        r(f"ldr {sums[0]}, {place['channels']}", f"sub {sums[0]}, {sums[0]}, #1")
        r(f"str {sums[0]}, {place['channels']}")
    r.leave(9)
    return r


def _registers(form: Form) -> _Registers:
    words = len(form.taps.words)
    out, pixels = NAMES[-1], NAMES[-2]
    if words <= RESIDENT:
        held = NAMES[words + 6 : RESIDENT + 6][: 2 if form.requant == "fast" else 3]
        return _Registers(NAMES[:words], NAMES[words : words + 4],
                          NAMES[words + 4 : words + 6], pixels, out, "", held)  # fmt: skip
    return _Registers([], NAMES[2:6], NAMES[6:11], pixels, out, NAMES[11], [])


def _column(r: Routine, form: Form, regs: _Registers, place: dict[str, str]) -> None:
    """All rows of one column of outputs."""
    a, b = regs.data[:2]
    flags = regs.sums[0]
    r(f"ldr {flags}, {place['parts']}", f"tst {flags}, #{FOURS}")
    with r.when("some", "ne"):
        s = regs.sums
        middle = r.label()
        if form.unroll == 2:
            # An odd number of groups starts in the middle of the loop.
            r(f"tst {flags}, #{ODD}", f"bne {middle}f")
        with r.until("eights", regs.out, b):
            if form.unroll == 2:
                with r.part("first"):
                    _rows(r, form, regs, place, 4)
                    r(f"ldrd {b}, {a}, {place['row3']}")
                    r(f"strb {s[0]}, [{regs.out}]", f"strb {s[1]}, [{regs.out}, {a}]")
                    r(f"strb {s[2]}, [{regs.out}, {a}, lsl #1]")
                    r(f"strb {s[3]}, [{regs.out}, {b}]", f"add {regs.out}, {regs.out}, {a}, lsl #2")
                r(f"{middle}:")
            _rows(r, form, regs, place, 4)
            r(f"ldrd {a}, {b}, {place['row']}")
            r(f"strb {s[0]}, [{regs.out}]", f"strb {s[1]}, [{regs.out}, {a}]")
            r(f"add {regs.out}, {regs.out}, {a}, lsl #1")
            r(f"strb {s[2]}, [{regs.out}]", f"strb {s[3]}, [{regs.out}, {a}]")
            r(f"add {regs.out}, {regs.out}, {a}, lsl #1")
        r(f"ldr {flags}, {place['parts']}")
    r(f"tst {flags}, #{TWO}")
    with r.when("two", "ne"):
        _rows(r, form, regs, place, 2)
        r(f"ldr {a}, {place['row']}", f"strb {regs.sums[0]}, [{regs.out}]")
        r(f"strb {regs.sums[1]}, [{regs.out}, {a}]", f"add {regs.out}, {regs.out}, {a}, lsl #1")
        r(f"ldr {flags}, {place['parts']}")
    r(f"tst {flags}, #{LAST}")
    with r.when("last", "ne"):
        _rows(r, form, regs, place, 1)
        r(f"strb {regs.sums[0]}, [{regs.out}]")


def _rows(r: Routine, form: Form, regs: _Registers, place: dict[str, str], rows: int) -> None:
    """`rows` outputs as int8 in the accumulators."""
    sums = regs.sums[:rows]
    if rows == 1:
        r(f"ldr {sums[0]}, {place['bias']}")
    else:
        r(f"ldmia sp, {{{', '.join(sums)}}}")
    products = form.taps.products(rows)
    if regs.weights:
        _resident(r, form, regs, products, form.passed(rows))
    else:
        _streamed(r, form, regs, products)
        if form.passed(rows):
            r(f"add {regs.pixels}, {regs.pixels}, #{form.passed(rows)}")
    multiplier, power, zero = [*regs.held, *("" for _ in range(3 - len(regs.held)))]
    a, b = regs.data[:2]
    if form.requant == "fast":
        if not multiplier:
            r(f"ldrd {a}, {b}, {place['multiplier']}")
        elif not power:
            r(f"ldr {b}, {place['power']}")
        m, p = multiplier or a, power or b
        requant.emit(r, "fast", form.shift, sums, [m] * rows, [p] * rows)
        return
    if not multiplier:
        r(f"ldr {a}, {place['multiplier']}")
    for s in sums:
        r(f"smmulr {s}, {s}, {multiplier or a}")
    if form.requant == "general":
        for s in sums:
            r(f"add {s}, {s}, {s}, asr #31")
    if not power:
        r(f"ldrd {a}, {b}, {place['power']}")
    elif not zero:
        r(f"ldr {b}, [sp, #24]")
    for s in sums:
        r(f"smmlar {s}, {s}, {power or a}, {zero or b}")
    for s in sums:
        r(f"ssat {s}, #8, {s}")


def _resident(
    r: Routine, form: Form, regs: _Registers, products: list[Product], passed: int
) -> None:
    """Products by words of pixels, two of which are loaded at a time; the first moves on."""
    words = sorted({(p.column, p.word) for p in products})
    moved = 0
    while words:
        column, word = words[0]
        taken = words[: 1 + (words[1:2] == [(column, word + 1)])]
        words = words[len(taken) :]
        offset = CHANNELS * form.pitch * column + 4 * word - moved
        registers = regs.data[: len(taken)]
        if not moved and passed:
            assert offset == 0
            where, moved = f"[{regs.pixels}], #{passed}", passed
        else:
            where = f"[{regs.pixels}, #{offset}]"
        if len(taken) == 2 and offset > 1020:
            r(f"ldr {registers[0]}, {where}", f"ldr {registers[1]}, [{regs.pixels}, #{offset + 4}]")
        else:
            r(f"{'ldrd' if len(taken) == 2 else 'ldr'} {', '.join(registers)}, {where}")
        for register, at in zip(registers, taken, strict=True):
            for p in products:
                if (p.column, p.word) == at:
                    _multiply(r, form, regs, p, register, "")


def _streamed(r: Routine, form: Form, regs: _Registers, products: list[Product]) -> None:
    """Products by weight words, which are loaded two at a time.

    Words of pixels stay in registers while there is room; a word's upper neighbour is loaded with
    it where that is needed too.
    """
    order = sorted(((form.taps.weight(p)[0], p) for p in products), key=lambda item: item[0])
    needed = sorted({n for n, _ in order})
    weights: dict[int, str] = {}
    held = dict.fromkeys(regs.data, (-1, -1))
    for i, (n, p) in enumerate(order):
        if n not in weights:
            weights = dict(zip([n, n + 1] if n + 1 in needed else [n], ("r0", "r1"), strict=False))
            r(f"{'ldrd' if len(weights) == 2 else 'ldr'} {', '.join(weights.values())}, "
              f"[{regs.table}, #{4 * n}]")  # fmt: skip
        uses = [(q.column, q.word) for _, q in order[i:]]
        at = uses[0]
        if at not in held.values():
            # Registers by how late their words are needed, if at all.
            late = sorted(held, key=partial(_first_use, uses, held))
            free = [d for d in late if held[d] not in uses]
            after = (at[0], at[1] + 1)
            both = after in uses and after not in held.values() and len(free) > 1
            taken = [late[-1], free[0]] if both else [late[-1]]
            offset = CHANNELS * form.pitch * at[0] + 4 * at[1]
            both = both and offset <= 1020
            held |= dict(zip(taken[: 1 + both], (at, after), strict=False))
            r(f"{'ldrd' if both else 'ldr'} {', '.join(taken[: 1 + both])}, "
              f"[{regs.pixels}, #{offset}]")  # fmt: skip
        register = next(d for d, word in held.items() if word == at)
        _multiply(r, form, regs, p, register, weights[n])


def _first_use(uses: list[tuple[int, int]], held: dict[str, tuple[int, int]], register: str) -> int:
    return uses.index(held[register]) if held[register] in uses else len(uses)


def _multiply(
    r: Routine, form: Form, regs: _Registers, p: Product, pixels: str, weight: str
) -> None:
    n, half = form.taps.weight(p)
    register = weight or regs.weights[n]
    r(f"{mnemonic(p, half)} {regs.sums[p.row]}, {pixels}, {register}, {regs.sums[p.row]}")


def check(form: Form) -> None:
    """Raises NotApplicable where immediate offsets do not reach."""
    words = form.taps.products(4)
    reach = max(CHANNELS * form.pitch * p.column + 4 * p.word for p in words)
    if reach > 4095 or CHANNELS * form.pitch > 4095 or 4 * form.record > 4095:
        raise NotApplicable(f"a kernel of {form.taps.height}x{form.taps.width} taps")
