"""Routines for AArch64: what they save, how they load constants, what they count."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest
from a64_guarded import SYSTEM, run_c
from a64_programs import A53, A76
from tools import need

from codegen.a64.routine import Routine

CONSTANTS = [0, 1, -1, 4095, 65535, 65536, -65537, 1 << 31, (1 << 31) - 1, 0x1234_0000_5678,
             -(1 << 40), (1 << 63) - 1, 0x7FFF_FFFF_0000]  # fmt: skip


def test_saves_what_belongs_to_the_caller() -> None:
    r = Routine("saves", "const int8_t *x")
    r("mov x19, x0", "mov w21, w1", "movi v9.4s, #0", "ldr d15, [x19]", "ldr q16, [x0]")
    assert r.lines[:2] == ["stp x19, x21, [sp, #-32]!", "stp d9, d15, [sp, #16]"]
    assert r.lines[-3:] == ["ldp d9, d15, [sp, #16]", "ldp x19, x21, [sp], #32", "ret"]
    r = Routine("none", "const int8_t *x")
    r("ldr q16, [x0]", "add x17, x0, #1")
    assert r.lines == ["ldr q16, [x0]", "add x17, x0, #1", "ret"]
    r.reserve(20)
    assert (r.lines[0], r.lines[-2]) == ("sub sp, sp, #32", "add sp, sp, #32")


def test_refuses_the_register_of_the_platform_and_a_ninth_argument() -> None:
    r = Routine("platform", "const int8_t *x")
    r("mov x18, x0")
    with pytest.raises(ValueError, match="x18"):
        _ = r.lines
    with pytest.raises(ValueError, match="9 parameters"):
        Routine("many", *(f"int64_t a{i}" for i in range(9)))


def test_counts_loops_and_parts() -> None:
    r = Routine("counts", "int64_t n")
    with r.loop("outer", "x0"):
        r("mov x1, #3", "cmp x0, #2")
        with r.when("some", "eq"):
            r("nop", "nop")
        with r.until("inner", "x1", "#9", "lo"):
            r("add x1, x1, #1")
    # outer: mov, cmp, b, subs, b; inner: add, cmp, b; ret.
    assert r.cost(outer=4, some=Fraction(1, 4), inner=6).instructions == 4 * (5 + 18) + 2 + 1


def test_equal_routines_have_one_name() -> None:
    def make(text: str) -> str:
        r = Routine("stem", "int64_t n")
        r(text)
        return r.name

    assert make("nop") == make("nop") != make("mov x1, x0")


@pytest.mark.apt
@pytest.mark.parametrize("compiler", ["gcc", "zig"])
def test_constants_and_dot_products_on_a_cpu(compiler: str, tmp_path: Path) -> None:
    need("qemu-aarch64", str(A53.target.gcc_command))
    r = Routine("constants", "int64_t *y", "const int8_t *x", "int32_t *sums")
    for i, value in enumerate(CONSTANTS):
        r.constant("x19", value)
        r(f"str x19, [x0, #{8 * i}]")
    distances = [0, 1, 4095, 4096, 70_000, 1 << 24, -3, -5000]
    for i, distance in enumerate(distances):
        r.add("x20", "x0", distance)
        r("sub x20, x20, x0", f"str x20, [x0, #{8 * (len(CONSTANTS) + i)}]")
    r("ldp q8, q30, [x1]")
    for i, right in enumerate(["16b", *(f"4b[{lane}]" for lane in range(4))]):
        r("movi v31.4s, #0", f"sdot v31.4s, v8.16b, v30.{right}", f"str q31, [x2, #{16 * i}]")
    count = 8 * (len(CONSTANTS) + len(distances))
    body = (
        f"{SYSTEM}{r.text()}\nvoid run(void)\n{{\n"
        f"    uint8_t *y = room({count}u, 0), *x = room(32u, 1), *s = room(80u, 0);\n"
        f"    {r.name}((int64_t *)(void *)y, (int8_t *)x, (int32_t *)(void *)s);\n"
        f"    send(y, {count}u);\n    send(s, 80u);\n    call(EXIT, 0, 0, 0, 0);\n}}\n"
    )
    x = [*range(-8, 8), *range(100, 84, -1)]
    given = bytes(v & 0xFF for v in x)
    found = run_c(body, given, tmp_path, A76.target, compiler=compiler)
    numbers = [int.from_bytes(found[i : i + 8], "little", signed=True) for i in range(0, count, 8)]
    assert numbers == CONSTANTS + distances
    sums = [
        int.from_bytes(found[i : i + 4], "little", signed=True) for i in range(count, count + 80, 4)
    ]
    fours = [x[i : i + 4] for i in range(0, 32, 4)]

    def dot(a: list[int], b: list[int]) -> int:
        return sum(p * q for p, q in zip(a, b, strict=True))

    want = [dot(fours[i], fours[4 + i]) for i in range(4)]
    want += [dot(fours[i], fours[4 + lane]) for lane in range(4) for i in range(4)]
    assert sums == want
