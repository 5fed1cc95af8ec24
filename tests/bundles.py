"""Bundles for tests: a tiny one, random ones, and ones that are wrong in one particular way."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from hypothesis import strategies as st

from edgekit.bundle import (
    ArgumentRef,
    Bundle,
    CallRef,
    Golden,
    LayerInfo,
    StateInfo,
    TensorInfo,
    write_bundle,
)
from edgekit.bundle.model import FOOTER_BYTES, FORMAT_VERSION, SPACE_ARENA, SPACE_CONSTANTS
from edgekit.bundle.writer import seal

# ---- the tiny bundle: two calls of the kernel "blend" in tests/firmware/tiny_kernels.c

BLEND, MANY, WIDE = 0x1111_2222_3333_4444, 0x5555_6666_7777_8888, 0x9999_AAAA_BBBB_CCCC
ARENA_BYTES = 56


def arena(offset: int, nbytes: int) -> ArgumentRef:
    return ArgumentRef(offset, nbytes, SPACE_ARENA)


def constant(offset: int, nbytes: int) -> ArgumentRef:
    return ArgumentRef(offset, nbytes, SPACE_CONSTANTS)


def layer(name: str) -> LayerInfo:
    return LayerInfo(name, "blend", "blend", (1, 16), (1, 16), 16, 16, 20, "")


def tensor(name: str, offset: int) -> TensorInfo:
    return TensorInfo(name, (1, 16), "int8", 0.5, -3, offset, 16)


TINY = Bundle(
    name="tiny",
    target="cortex-m4",
    producer="tests",
    arena_bytes=ARENA_BYTES,
    kernels=(BLEND,),
    calls=(
        CallRef(0, (arena(0, 16), constant(0, 16), arena(16, 16), arena(32, 20))),
        CallRef(0, (arena(16, 16), constant(16, 16), arena(0, 16), arena(32, 24))),
    ),
    inputs=(tensor("x", 0),),
    outputs=(tensor("y", 0),),
    constants=bytes(range(32)),
    layers=(layer("first"), layer("second")),
    golden=(Golden((bytes(16),), (bytes(i + i + 16 for i in range(16)),)),),
)

# ---- random bundles, legal but meaningless

_NAMES = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
_U32 = st.integers(0, 2**32 - 1)
_SHAPES = st.lists(st.integers(1, 5), max_size=5).map(tuple)


@st.composite
def bundles(draw: st.DrawFn) -> Bundle:
    """Any bundle that `read_bundle` accepts."""
    constants = draw(st.binary(max_size=300))
    arena_bytes = draw(st.one_of(st.integers(12504, 2**16), st.integers(12504, 2**32 - 1)))
    kernels = draw(st.lists(st.integers(0, 2**64 - 1), max_size=4))

    def argument() -> ArgumentRef:
        space = draw(st.integers(0, 1))
        size = len(constants) if space else arena_bytes
        offset = draw(st.integers(0, size // 8)) * 8
        return ArgumentRef(offset, draw(st.integers(0, size - offset)), space)

    def tensor_() -> TensorInfo:
        shape = draw(_SHAPES)
        dtype, item = draw(st.sampled_from([("int8", 1), ("int16", 2), ("float32", 4)]))
        nbytes = item
        for axis in shape:
            nbytes *= axis
        return TensorInfo(
            draw(_NAMES), shape, dtype,
            draw(st.floats(2.0**-126, 2.0**100, width=32, allow_subnormal=False)),
            draw(st.integers(-(2**31), 2**31 - 1)),
            draw(st.integers(0, max(arena_bytes - nbytes, 0))), nbytes,
            draw(st.sampled_from(["", "NCHW"])),
        )  # fmt: skip

    calls = tuple(
        CallRef(
            draw(st.integers(0, len(kernels) - 1)),
            tuple(argument() for _ in range(draw(st.integers(0, 8)))),
        )
        for _ in range(draw(st.integers(0, 4)) if kernels else 0)
    )
    layers = tuple(
        LayerInfo(
            draw(_NAMES), draw(_NAMES), draw(_NAMES), draw(_SHAPES), draw(_SHAPES),
            draw(st.integers(0, 2**64 - 1)), draw(_U32), draw(_U32), draw(_NAMES),
        )
        for _ in calls
    )  # fmt: skip
    inputs, outputs = (tuple(tensor_() for _ in range(draw(st.integers(0, 3)))) for _ in range(2))

    def sample(tensors: tuple[TensorInfo, ...]) -> tuple[bytes, ...]:
        return tuple(
            draw(st.integers(0, 255).map(lambda b, t=t: bytes([b]) * t.nbytes)) for t in tensors
        )

    def state() -> StateInfo:
        t = tensor_()
        inside = len(constants) >= t.nbytes and draw(st.booleans())
        most = len(constants) - t.nbytes if inside else 255
        return StateInfo(t, inside, draw(st.integers(0, most)))

    states = tuple(state() for _ in range(draw(st.integers(0, 2))))
    golden = tuple(Golden(sample(inputs), sample(outputs)) for _ in range(draw(st.integers(0, 2))))
    return Bundle(
        draw(_NAMES), draw(_NAMES), draw(_NAMES), arena_bytes, tuple(kernels), calls, inputs,
        outputs, constants, layers, golden, states,
    )  # fmt: skip


# ---- reaching into the bytes


def u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def follow(data: bytes, at: int) -> int:
    return at + u32(data, at)


def field(data: bytes, table: int, index: int) -> int:
    """Where field `index` of the table at `table` lies."""
    vtable = table - int(struct.unpack_from("<i", data, table)[0])
    return table + int(struct.unpack_from("<H", data, vtable + 4 + 2 * index)[0])


def model(data: bytes) -> int:
    return follow(data, 0)


def program(data: bytes) -> int:
    return follow(data, field(data, model(data), 1))


def vector(data: bytes, table: int, index: int) -> int:
    """Where the count of a vector lies; its elements follow."""
    return follow(data, field(data, table, index))


def put(data: bytes, at: int, value: int, size: int = 4) -> bytes:
    return data[:at] + value.to_bytes(size, "little") + data[at + size :]


def reseal(data: bytes, version: int = FORMAT_VERSION) -> bytes:
    """The footer made to fit whatever the payload is now."""
    return seal(data[:-FOOTER_BYTES], version)


# ---- what is wrong


@dataclass(frozen=True)
class Wrong:
    """Bytes with a right checksum that must be refused.

    Attributes:
        status: what the runtime says, a name of edgekit.h without EK_.
        host: the code of `read_bundle`; empty where the file is in order and only this firmware
            cannot run it.
    """

    name: str
    data: bytes
    status: str
    host: str = "E405"


def _with_argument(index: int, argument: ArgumentRef) -> bytes:
    arguments = list(TINY.calls[1].arguments)
    arguments[index] = argument
    return write_bundle(replace(TINY, calls=(TINY.calls[0], CallRef(0, tuple(arguments)))))


def _call(kernel: int, *arguments: ArgumentRef) -> bytes:
    return write_bundle(replace(TINY, calls=(TINY.calls[0], CallRef(kernel, arguments))))


def _patched(place: Callable[[bytes], int], value: int, size: int = 4) -> bytes:
    data = write_bundle(TINY)
    return reseal(put(data, place(data), value, size))


def _vtable(data: bytes, table: int) -> int:
    return table - int(struct.unpack_from("<i", data, table)[0])


def _tensor(data: bytes, index: int = 2) -> int:
    return follow(data, vector(data, model(data), index) + 4)


def _moved_constants() -> bytes:
    """The vector of constants starts four bytes early, off its alignment."""
    data = write_bundle(TINY)
    at = field(data, model(data), 4)
    count = vector(data, model(data), 4)
    data = put(put(data, at, u32(data, at) - 4), count - 4, 32)
    return reseal(data)


def wrong_bundles() -> list[Wrong]:
    args = TINY.calls[1].arguments
    top = 0xFFFF_FFFF
    far = [("arena", arena, ARENA_BYTES), ("constants", constant, 32)]
    which = {"arena": 2, "constants": 1}
    cases = [
        Wrong(f"argument {what}: {note}", _with_argument(which[what], make(offset, nbytes)), status)
        for what, make, size in far
        for note, offset, nbytes, status in (
            ("starts behind the end", size + 8, 16, "BOUNDS"),
            ("ends one byte behind the end", size - 16 + 8, 16, "BOUNDS"),
            ("offset near 2^32", top - 7, 16, "BOUNDS"),
            ("size near 2^32", 8, top, "BOUNDS"),
            ("offset and size sum to 2^32", top - 15, 16, "BOUNDS"),
            ("misaligned by 4", 4, 16, "ALIGNMENT"),
            ("misaligned by 1", 1, 16, "ALIGNMENT"),
        )
    ]
    cases += [
        Wrong("output in the constants", _with_argument(2, constant(0, 16)), "BOUNDS", ""),
        Wrong("scratch in the constants", _with_argument(3, constant(0, 24)), "BOUNDS", ""),
        Wrong("constant in the arena", _with_argument(1, arena(0, 16)), "BOUNDS", ""),
        Wrong("space 2", _with_argument(2, ArgumentRef(0, 16, 2)), "BOUNDS"),
        Wrong("space 2^32 - 1", _with_argument(1, ArgumentRef(0, 16, top)), "BOUNDS"),
        Wrong("argument smaller than its kernel's", _with_argument(3, arena(32, 19)), "BOUNDS", ""),
        Wrong("empty argument", _with_argument(0, arena(0, 0)), "BOUNDS", ""),
        Wrong("kernel index 1 of 1", _call(1, *args), "MALFORMED"),
        Wrong("kernel index 65535", _call(65535, *args), "MALFORMED"),
        Wrong("an argument too few", _call(0, *args[:3]), "MALFORMED", ""),
        Wrong("an argument too many", _call(0, *args, args[0]), "MALFORMED", ""),
        Wrong("no argument", _call(0), "MALFORMED", ""),
        Wrong("calls without kernels", write_bundle(replace(TINY, kernels=())), "MALFORMED"),
        Wrong("a kernel of another model", write_bundle(replace(TINY, kernels=(BLEND + 1,))),
              "KERNEL_MISSING", ""),
        Wrong("fingerprint 0", write_bundle(replace(TINY, kernels=(0,))), "KERNEL_MISSING", ""),
        Wrong("more kernels than slots", write_bundle(replace(TINY, kernels=(BLEND,) * 5)),
              "TOO_MANY_CALLS", ""),
        Wrong("seventeen arguments", write_bundle(replace(TINY, kernels=(MANY,), calls=(
            CallRef(0, (arena(0, 8),) * 17),) * 2)), "TOO_MANY_CALLS"),
        Wrong("arena larger than the firmware's",
              write_bundle(replace(TINY, arena_bytes=ARENA_BYTES + 1)), "ARENA_TOO_SMALL", ""),
        Wrong("arena of 2^32 - 1", write_bundle(replace(TINY, arena_bytes=top)),
              "ARENA_TOO_SMALL", ""),
        Wrong("arena of 0", write_bundle(replace(TINY, arena_bytes=0)), "BOUNDS"),
    ]  # fmt: skip
    for note, place, inside, initial, status in (
        ("behind the arena", ARENA_BYTES - 8, False, 0, "BOUNDS"),
        ("from behind the constants", 0, True, len(TINY.constants) - 15, "BOUNDS"),
        ("from constants near 2^32", 0, True, top, "BOUNDS"),
        ("from space 2", 0, 2, 0, "MALFORMED"),
    ):
        state = StateInfo(tensor("s", place), inside, initial)
        cases.append(Wrong(f"state {note}", write_bundle(replace(TINY, states=(state,))), status))
    for what, index in (("input", 2), ("output", 3)):
        for note, offset, nbytes in (("ends behind", 41, 16), ("offset 2^32 - 1", top, 16),
                                     ("size 2^32 - 1", 1, top)):  # fmt: skip
            moved = replace(tensor("t", offset), nbytes=nbytes)
            both = replace(TINY, **{f"{what}s": (tensor("t", 0), moved)})
            cases.append(Wrong(f"second {what} {note}", write_bundle(both), "BOUNDS"))
        for note, value in (("behind the file", 1 << 20), ("2^32 - 1", top), ("odd", 7)):
            data = _patched(lambda d, i=index: vector(d, model(d), i) + 4, value)
            cases.append(Wrong(f"{what} table {note}", data, "MALFORMED"))
    tables: list[tuple[str, Callable[[bytes], int]]] = [
        ("model", model), ("program", program), ("input", _tensor),
    ]  # fmt: skip
    for what, find in tables:
        for note, value in (("after the file", -(1 << 20)), ("before the file", 1 << 20),
                            ("at 2^31", -(2**31)), ("odd", 5)):  # fmt: skip
            data = _patched(find, value & top)
            cases.append(Wrong(f"vtable of the {what} {note}", data, "MALFORMED", "?"))
        for note, place, value in (("vtable", 0, 0xFFFF), ("vtable", 0, 0), ("vtable", 0, 3),
                                   ("table", 2, 0xFFFF), ("table", 2, 0)):  # fmt: skip
            data = _patched(lambda d, f=find, p=place: _vtable(d, f(d)) + p, value, 2)
            cases.append(Wrong(f"{note} of the {what} with {value} bytes", data, "MALFORMED", "?"))
    vectors = [("kernels", program, 1), ("calls", program, 2), ("arguments", program, 3),
               ("inputs", model, 2), ("outputs", model, 3), ("constants", model, 4),
               ("hash", model, 5)]  # fmt: skip
    for what, find, index in vectors:
        for value in (top, 0x8000_0000, 0x2000_0001, 1 << 20):
            data = _patched(lambda d, f=find, i=index: vector(d, f(d), i), value)
            cases.append(Wrong(f"{value:#x} {what}", data, "MALFORMED"))
        for value in (top, 1 << 20, 0x7FFF_FFFC):
            data = _patched(lambda d, f=find, i=index: field(d, f(d), i), value)
            cases.append(Wrong(f"{what} at {value:#x}", data, "MALFORMED"))
        for before in (0, 2):  # its count would be read from the footer
            data = write_bundle(TINY)
            at = field(data, find(data), index)
            data = reseal(put(data, at, len(data) - FOOTER_BYTES - before - at))
            cases.append(Wrong(f"{what} {before} bytes before the footer", data, "MALFORMED"))
        data = _patched(lambda d, f=find, i=index: _vtable(d, f(d)) + 4 + 2 * i, 0, 2)
        cases.append(Wrong(f"no {what}", data, "MALFORMED"))
        data = _patched(lambda d, f=find, i=index: _vtable(d, f(d)) + 4 + 2 * i, 0xFFFE, 2)
        cases.append(Wrong(f"field {what} outside its table", data, "MALFORMED", "?"))
    cases += [
        Wrong("first argument 2^32 - 1", _patched(lambda d: vector(d, program(d), 2) + 4, top),
              "MALFORMED"),
        Wrong("arguments one past the last", _patched(lambda d: vector(d, program(d), 2) + 4, 5),
              "MALFORMED"),
        Wrong("65535 arguments", _patched(lambda d: vector(d, program(d), 2) + 10, 0xFFFF, 2),
              "MALFORMED"),
        Wrong("a hash of 7 bytes", _patched(lambda d: vector(d, model(d), 5), 7), "MALFORMED"),
        Wrong("model at 2^32 - 4", _patched(lambda d: 0, top - 3), "MALFORMED"),
        Wrong("model at 2", _patched(lambda d: 0, 2), "MALFORMED"),
        Wrong("misaligned constants", _moved_constants(), "ALIGNMENT"),
        Wrong("an older format", reseal(write_bundle(TINY), 0), "VERSION", "E403"),
        Wrong("a newer format", reseal(write_bundle(TINY), FORMAT_VERSION + 1), "VERSION", "E403"),
        Wrong("format 2^32 - 1", reseal(write_bundle(TINY), top), "VERSION", "E403"),
    ]  # fmt: skip
    return cases
