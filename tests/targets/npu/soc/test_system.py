"""The accelerator in the simulated system: firmware starts streams, the bytes are the model's."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.session import Session, connect
from edgekit.errors import EdgekitError
from targets import board
from targets.npu.config import CONFIGURATIONS
from targets.npu.isa import Load, Store, decode
from targets.npu.timing import timing

from ..simulators import in_numpy
from ..streams import Case, valid

NPU64 = CONFIGURATIONS["npu64"]
PROBE = Path(__file__).parents[3] / "devices" / "app" / "probe_app.c"
STREAM, HEAD, BYTES = 6, 32, 4096


@pytest.fixture(scope="module", params=["sim-ecp5-soc", "virtual-npu64"])
def session(request: pytest.FixtureRequest) -> Iterator[Session]:
    """The simulated system, and the virtual board, which tells the same from an estimate."""
    soc = board(request.param)
    driver = firmware_folder() / "npu" / "ek_npu_driver.c"
    firmware = build_firmware([PROBE, driver], soc, defines={"PROBE_BYTES": f"{BYTES}"})
    with connect(soc, elf=firmware.elf) as opened:
        yield opened


def request(case: Case, words: list[int]) -> tuple[bytes, list[int]]:
    """The probe's input, and where each region is in what it answers: at any word of a line."""
    kinds = [type(c) for c in decode(case.words, case.config)[1:-1]]
    moves = sum(kind in (Load, Store) for kind in kinds)
    offsets, content = [], b""
    for i, region in enumerate(case.regions):
        content += b"\x55" * (-len(content) % 4 + 4 * (i % 3))
        offsets.append(len(content))
        content += region
    table = [x for o, r in zip(offsets, case.regions, strict=True) for x in (o, len(r))]
    head = (STREAM, len(words), len(kinds) - moves, moves, len(offsets), len(content), 0, 0)
    data = struct.pack(f"<{8 + len(words) + len(table)}I", *head, *words, *table) + content
    assert len(data) <= HEAD + BYTES
    return data.ljust(HEAD + BYTES, b"\0"), offsets


def run(session: Session, case: Case) -> tuple[list[bytes], int]:
    """What the regions hold after a case, and the accelerator's cycles."""
    data, offsets = request(case, case.words)
    (answer,) = session.run([data])
    regions = [answer[HEAD + o :][: len(r)] for o, r in zip(offsets, case.regions, strict=True)]
    return regions, struct.unpack_from("<I", answer, 8)[0]


@pytest.mark.parametrize("seed", range(8))
def test_random_streams_leave_the_models_bytes(session: Session, seed: int) -> None:
    """Whatever the commands; what they stored is what the CPU reads, its cache notwithstanding."""
    case = valid(NPU64, seed, cycles=700)
    (expected,) = in_numpy([case])
    regions, cycles = run(session, case)
    assert regions == expected.regions
    # The CPU reads all regions meanwhile, and they share the memory.
    alone = timing(decode(case.words, NPU64), NPU64).cycles
    assert 0.97 * alone < cycles < 1.2 * alone


def test_counters_come_with_the_profile(session: Session) -> None:
    """They are of one layer, whatever ran before, and what the estimate says."""
    case = valid(NPU64, 3, cycles=700)
    data, _ = request(case, case.words)
    estimate = timing(decode(case.words, NPU64), NPU64)
    for _ in range(2):
        (work,) = session.profile([data], repeat=1).work
        assert work.steps == estimate.at(estimate.cycles).steps
        assert 0 < work.moved + work.stalled < 4 * estimate.cycles


def test_an_error_is_a_fault_with_its_name(session: Session) -> None:
    """The board has to be started anew then, as after any fault."""
    case = valid(NPU64, 0, cycles=300)
    data, _ = request(case, [*case.words[:-1], 0x77])
    with pytest.raises(EdgekitError, match=r"at ek_npu_wait.*: the accelerator stopped") as caught:
        session.run([data])
    assert caught.value.code == "E609"
    assert "error OPCODE at command" in caught.value.details[0]
