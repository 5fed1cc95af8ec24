"""Calling C functions on the virtual core: arguments, buffers, counts, faults, DSP results."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from edgekit.devices.emulators.bench import Bench, InOut, Out, call_function, link_functions
from edgekit.errors import EdgekitError
from edgekit.toolchain import find_compiler
from targets import Board, board

SOURCE = r"""
#include <stdint.h>
#define DSP(name, type, text) \
  type name(type a, type b, type c); \
  type name(type a, type b, type c) { \
    __asm(text : "+r"(c) : "r"(a), "r"(b)); \
    return c; \
  }
DSP(smlad, uint32_t, "smlad %0, %1, %2, %0")
DSP(smladx, uint32_t, "smladx %0, %1, %2, %0")
DSP(smuad, uint32_t, "smuad %0, %1, %2")
DSP(smmulr, uint32_t, "smmulr %0, %1, %2")
DSP(smmlar, uint32_t, "smmlar %0, %1, %2, %0")
DSP(sxtb16, uint32_t, "sxtb16 %0, %1")
DSP(sxtab16, uint32_t, "sxtab16 %0, %1, %2, ror #8")
DSP(pkhbt, uint32_t, "pkhbt %0, %1, %2, lsl #16")
DSP(qadd, uint32_t, "qadd %0, %1, %2")
DSP(sadd8, uint32_t, "sadd8 %0, %1, %2")
DSP(ssat, uint32_t, "ssat %0, #8, %1")
int32_t six(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f);
int32_t six(int32_t a, int32_t b, int32_t c, int32_t d, int32_t e, int32_t f) {
  return a + 10 * b + 100 * c + 1000 * d + 10000 * e + 100000 * f;
}
void sum(const int8_t *x, int32_t *out, int32_t n);
void sum(const int8_t *x, int32_t *out, int32_t n) {
  int32_t s = *out;
  for (int32_t i = 0; i < n; i++) s += x[i];
  *out = s;
}
int32_t state;
int32_t remember(int32_t more);
int32_t remember(int32_t more) { return state += more; }
float scaled(const float *x);
float scaled(const float *x) { return x[0] * 2.5f + x[1]; }
uint32_t forever(void);
uint32_t forever(void) { for (;;) {} }
void poke(uint32_t *p);
void poke(uint32_t *p) { *p = 1; }
uint32_t deep(uint32_t n);
__attribute__((noinline)) uint32_t deep(uint32_t n) {
  volatile uint32_t room[64];
  room[n & 63] = n;
  return n == 0 ? 0 : deep(n - 1) + room[n & 63];
}
#define LOAD(name, text) \
  uint32_t name(const void *p); \
  uint32_t name(const void *p) { \
    uint32_t r; \
    __asm volatile(text "mov %0, r2" : "=r"(r) : "r"(p) : "r2", "r3", "s0", "memory"); \
    return r; \
  }
LOAD(ldr, "ldr r2, [%1]\n")
LOAD(ldrd, "ldrd r2, r3, [%1]\n")
LOAD(ldm, "ldm %1, {r2, r3}\n")
LOAD(vldr, "vldr s0, [%1]\nvmov r2, s0\n")
void undefined(void);
void undefined(void) { __asm volatile(".inst.n 0xde00"); }
"""
NAMES = [
    "smlad",
    "smladx",
    "smuad",
    "smmulr",
    "smmlar",
    "sxtb16",
    "sxtab16",
    "pkhbt",
    "qadd",
    "sadd8",
    "ssat",
]
NAMES += ["six", "sum", "remember", "scaled", "forever", "poke", "deep", "undefined"]


NAMES += ["ldr", "ldrd", "ldm", "vldr"]


@pytest.fixture(scope="module")
def elf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = tmp_path_factory.mktemp("bench") / "f.c"
    source.write_text(SOURCE)
    on = board("virtual-cortex-m4")
    return link_functions([find_compiler("zig", on.target).compile(source)], on, NAMES)


@pytest.mark.parametrize(
    ("name", "a", "b", "c", "wanted"),
    [
        ("smlad", 0x0003_FFFE, 0x0005_0007, 100, 3 * 5 - 2 * 7 + 100),
        ("smladx", 0x0003_FFFE, 0x0005_0007, 100, 3 * 7 - 2 * 5 + 100),
        ("smuad", 0x8000_8000, 0x8000_8000, 0, 0x8000_0000),
        ("smmulr", 0x4000_0000, 0x0000_0002, 0, 1),  # 0x80000000 rounds up
        ("smmlar", 0x4000_0000, 0x0000_0002, 5, 6),
        ("sxtb16", 0x0080_00FF, 0, 0, 0xFF80_FFFF),
        ("sxtab16", 0x0001_0001, 0x80FF_7F00, 0, 0xFF81_0080),
        ("pkhbt", 0x1111_2222, 0x3333_4444, 0, 0x4444_2222),
        ("qadd", 0x7FFF_FFFF, 1, 0, 0x7FFF_FFFF),
        ("sadd8", 0x7F01_FF80, 0x0101_0180, 0, 0x8002_0000),
        ("ssat", 200, 0, 0, 127),
    ],
)
def test_dsp_instructions(elf: Path, name: str, a: int, b: int, c: int, wanted: int) -> None:
    assert call_function(elf, name, [a, b, c]).result == wanted


def test_arguments_in_registers_and_on_the_stack(elf: Path) -> None:
    assert call_function(elf, "six", [1, 2, 3, 4, 5, 6]).result == 654321
    assert call_function(elf, "six", [0, 0, 0, 0, -1, 0]).result == 2**32 - 10000


def test_buffers_memory_and_exact_counts(elf: Path, virtual: Board) -> None:
    bench = Bench(elf)
    done = bench.call("sum", [bytes([1, 2, 3, 255]), InOut(struct.pack("<i", 100)), 4])
    assert struct.unpack("<i", done.outputs[0]) == (105,)
    again = bench.call("sum", [bytes([1, 2, 3, 255]), InOut(struct.pack("<i", 100)), 4])
    assert (again.instructions, again.cycles) == (done.instructions, done.cycles)
    assert again.functions == {"sum": (done.instructions, done.cycles)}
    place = virtual.ram.start + 0x8000
    read = bench.call("sum", [place, "state", 2], memory={place: b"\x05\x06"}, read=[("state", 4)])
    assert read.memory == (struct.pack("<i", 11),)
    assert bench.call("remember", [1]).result == 12
    assert Out(3).size == 3


def test_floating_point_is_on(elf: Path) -> None:
    bench = Bench(elf)
    bench.call("scaled", [struct.pack("<2f", 3.0, 1.25)])
    assert bench.machine.register("s0") == struct.unpack("<I", struct.pack("<f", 8.75))[0]


def test_faults_name_the_place(elf: Path, virtual: Board) -> None:
    bench = Bench(elf)
    for argument in (0, virtual.flash.start, 0x6000_0000):
        with pytest.raises(EdgekitError, match=r"stopped at poke\+0x\d+: ") as caught:
            bench.call("poke", [argument])
        assert caught.value.code == "E609"
    with pytest.raises(EdgekitError, match=r"stopped at deep.*write"):
        bench.call("deep", [1000])
    with pytest.raises(EdgekitError, match=r"stopped at undefined"):
        bench.call("undefined")
    assert bench.call("six", [1, 0, 0, 0, 0, 0]).result == 1  # and it goes on


@pytest.mark.parametrize("name", ["ldr", "ldrd", "ldm", "vldr"])
def test_unaligned_accesses_fault_where_a_core_does(elf: Path, virtual: Board, name: str) -> None:
    place = virtual.ram.start + 0x8000
    memory: dict[int | str, bytes] = {place: bytes(range(1, 20))}
    for strict in (False, True):
        bench = Bench(elf, strict=strict)
        assert bench.call(name, [place], memory=memory).result == 0x04030201
        if strict and name != "ldr":
            says = rf"stopped at {name}.*: unaligned access to {place + 2:#010x} by {name}"
            with pytest.raises(EdgekitError, match=says):
                bench.call(name, [place + 2])
            assert bench.call(name, [place]).result == 0x04030201
        else:
            assert bench.call(name, [place + 2]).result == 0x06050403


def test_what_cannot_be_called(elf: Path, virtual: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgekitError, match="no symbol 'absent'"):
        call_function(elf, "absent")
    with pytest.raises(EdgekitError, match="more RAM"):
        call_function(elf, "sum", [Out(virtual.ram.size)])
    monkeypatch.setattr("edgekit.devices.emulators.bench._LIMIT", 100_000)
    with pytest.raises(EdgekitError, match="did not return"):
        call_function(elf, "forever")


def test_an_image_for_another_board_is_refused(elf: Path) -> None:
    with pytest.raises(EdgekitError, match="outside the flash of 'qemu-mps2-an386'") as caught:
        Bench(elf, board("qemu-mps2-an386"))
    assert caught.value.code == "E610"
