"""The custom function unit on the virtual core, against its model in whole numbers."""

from __future__ import annotations

import random
import struct

import pytest

from edgekit.devices.emulators.machine import Machine
from edgekit.errors import EdgekitError
from targets import Region, target
from targets.cfu.isa import ENABLE, ENABLE_CSR, PIXELS, Model, Op, encode, output

CODE = Region("CODE", "flash", 0x1000, 0x10000)
A0, A1, A2 = 10, 11, 12


def machine(*words: int) -> Machine:
    made = Machine(target("riscv32-cfu"), [CODE])
    made.write(CODE.start, struct.pack(f"<{len(words)}I", *words))
    return made


def test_instructions_are_the_model() -> None:
    rng = random.Random(3)
    commands = [(Op.OUTPUT, 0, output(3, -120, 127), 0)]
    for _ in range(400):
        op = rng.choice([op for op in Op if op != Op.OUTPUT])
        function = rng.randrange(PIXELS) << 2 | rng.randrange(4)
        a, b = (rng.choice((rng.getrandbits(32), 0x80808080)) for _ in range(2))
        if op == Op.SCALE:
            a, b = rng.choice((0, 2**31 - 1, rng.randrange(2**30, 2**31))), rng.randrange(32)
        commands.append((op, function, a, b))
    words = {op: [encode(op, f >> 2, f & 3, A2, A0, A1) for f in range(32)] for op in Op}
    core = machine(*(word for op in Op for word in words[op]))
    model = Model()
    for op, function, a, b in commands:
        core.set_register("a0", a)
        core.set_register("a1", b)
        at = CODE.start + 4 * (32 * list(Op).index(op) + function)
        before = core.counts.instructions
        core.run(at, at + 4)
        assert core.register("a2") == model.run(op, function, a, b), (op, function)
        assert core.counts.instructions - before == 1


def test_rd_zero_stays_zero() -> None:
    core = machine(encode(Op.RESULT, rd=0), encode(Op.RESULT, rd=A2))
    core.set_register("a0", output(5, -128, 127))
    core.cfu.output = output(5, -128, 127)  # type: ignore[union-attr]
    core.run(CODE.start, CODE.start + 8)
    assert (core.register("zero"), core.register("a2")) == (0, 0x05050505)


def test_traps_until_it_is_enabled() -> None:
    """As VexRiscv does; start-up sets the bit."""
    csrw = ENABLE_CSR << 20 | A0 << 15 | 1 << 12 | 0x73
    core = machine(csrw, encode(Op.CLEAR))
    core.cfu.enabled = 0  # type: ignore[union-attr]
    with pytest.raises(EdgekitError) as caught:
        core.run(CODE.start + 4, CODE.start + 8)
    assert caught.value.code == "E609"
    assert "illegal instruction" in caught.value.message
    core.set_register("a0", ENABLE)
    core.run(CODE.start, CODE.start + 8)
    assert core.cfu.enabled == 1  # type: ignore[union-attr]


def test_other_illegal_instructions_still_fault() -> None:
    core = machine(0x0000007B)
    with pytest.raises(EdgekitError) as caught:
        core.run(CODE.start, CODE.start + 4)
    assert "illegal instruction" in caught.value.message
