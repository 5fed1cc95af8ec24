"""Shaders of Vulkan from OpenCL C, and what is asked of them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tools import need_modules

from codegen.gpu import spirv
from codegen.gpu.kernel import Function
from codegen.gpu.program import ARENA, DeviceLayer, GpuProgram, PlacedArgument, PlacedLaunch
from codegen.gpu.program import PlacedVariant as Variant
from codegen.gpu.sources import prelude

GOOD = """__kernel void twice(__global const char4 *restrict x, __global char4 *restrict y)
{
    const int i = get_global_id(0);
    y[i] = ek_lanes4(x[i] + x[i], 3);
}
"""


def program(text: str, name: str = "twice", arguments: int = 2) -> GpuProgram:
    places = tuple(PlacedArgument(ARENA, 128 * i, 128, i == 1) for i in range(arguments))
    launch = PlacedLaunch(Function(name, text), places, (32, 1, 1), ((8, 1, 1),))
    layer = DeviceLayer((Variant("direct", (launch,)),), (0,), (1,))
    return GpuProgram((), (layer,), (0,), (1,), b"", 256, prelude())


@pytest.fixture(autouse=True)
def _clspv() -> None:
    need_modules("pyclspv")


def test_a_shader_without_reflection() -> None:
    made = spirv.shaders(program(GOOD))
    assert not made.refused
    data = made.spirv["twice"]
    assert struct.unpack("<I", data[:4])[0] == spirv.MAGIC
    assert b"NonSemantic" not in data and b"twice" in data
    assert spirv.wrong(data, 2) == ""
    assert spirv.without_reflection(data) == data


def test_bindings_are_counted() -> None:
    data = spirv.shaders(program(GOOD)).spirv["twice"]
    assert "not 0 to 0 of set 0" in spirv.wrong(data, 1)


def test_a_text_that_is_none() -> None:
    made = spirv.shaders(program(GOOD.replace("y[i] =", "y[i] = no_such")))
    assert not made.spirv and "clspv refuses it" in made.refused["twice"]


@given(st.data())
def test_damaged_modules_are_refused_or_read(data: st.DataObject) -> None:
    """Never an exception beyond ValueError, whatever the words are."""
    whole = bytearray(spirv.shaders(program(GOOD)).spirv["twice"])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.integers(0, 255))
    cut = bytes(whole[: data.draw(st.integers(0, len(whole)))])
    assert isinstance(spirv.wrong(cut, 2), str)
