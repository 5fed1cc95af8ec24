"""The one-line form of register steps."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from targets.steps import OPS, parse_step


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ("write 0x40 7", ("write", 0x40, 7, 0xFFFF_FFFF)),
        ("write 0x40 0x5 mask 0xF", ("write", 0x40, 5, 0xF)),
        ("set 64 0b101", ("set", 64, 5, 5)),
        ("clear 0x4002_3830 1", ("clear", 0x4002_3830, 1, 1)),
        ("wait 0x40 2", ("wait", 0x40, 2, 2)),
        ("wait 0x40 0 mask 2", ("wait", 0x40, 0, 2)),
        ("  wait  0x40   0  mask 2 ", ("wait", 0x40, 0, 2)),
    ],
)
def test_forms(text: str, step: tuple[str, int, int, int]) -> None:
    found = parse_step(text)
    assert (found.op, found.address, found.value, found.mask) == step
    commented = parse_step(f"{text}# RCC.CR: why # not")
    assert commented.comment == "RCC.CR: why # not" and commented.register == "RCC.CR"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("set 0x40", "is not of the form"),
        ("set 0x40 1 mask", "is not of the form"),
        ("write 0x40 1 with 3", "is not of the form"),
        ("toggle 0x40 1", "'toggle' is none of: write, set, clear, wait"),
        ("set 0x42 1", "0x42 is not a multiple of 4"),
        ("set 0x40 zero", "'zero' is not a number"),
        ("set 0x100000000 1", "does not fit 32 bits"),
        ("set 0x40 -1", "does not fit 32 bits"),
        ("set 0x40 0", "at least one"),
        ("clear 0x40 1 mask 1", "no mask"),
        ("wait 0x40 0", "looks at no bit"),
        ("write 0x40 16 mask 15", "value 0x10 has bits outside mask 0xf"),
    ],
)
def test_what_is_wrong_is_said(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_step(text)


@given(st.text(max_size=60))
def test_any_text_is_a_step_or_an_error(text: str) -> None:
    try:
        step = parse_step(text)
    except ValueError as error:
        assert str(error)
    else:
        assert step.op in OPS and step.address % 4 == 0 and step.value & ~step.mask == 0


@given(
    st.sampled_from(OPS),
    st.integers(0, 2**30 - 1),
    st.integers(1, 2**32 - 1),
    st.integers(0, 2**32 - 1),
)
def test_whatever_is_written_is_read(op: str, word: int, mask: int, bits: int) -> None:
    value = bits & mask
    with_mask = op in ("write", "wait")
    text = f"{op} {4 * word:#x} {value if with_mask else mask:#x}"
    step = parse_step(text + (f" mask {mask:#x}" if with_mask else ""))
    assert (step.address, step.mask) == (4 * word, mask)
    assert step.value == (value if with_mask else mask)
