"""Estimated FPGA resources against what yosys makes of the hardware."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from targets.npu.config import CONFIGURATIONS, Accelerator
from targets.npu.resources import DEVICES, estimate
from targets.npu.synthesis import ECP5, Resources, rtlil, synthesize

#: Share that LUTs and flip-flops may be off.
SHARE = 0.15
BETWEEN = Accelerator("between", 4, 2, 1 << 12, 1 << 9, 1 << 8)
#: Synthesised for the ECP5 on 30 November 2026: LUT, FF, DSP, block RAM. The constants are a fit.
SYNTHESISED = (
    (CONFIGURATIONS["npu8"], Resources(8_686, 6_197, 5, 15)),
    (CONFIGURATIONS["npu16"], Resources(8_938, 6_616, 21, 31)),
    (BETWEEN, Resources(10_416, 8_007, 41, 35)),
    (CONFIGURATIONS["npu64"], Resources(13_206, 10_913, 81, 116)),
    (replace(CONFIGURATIONS["npu64"], requant_lanes=8), Resources(15_545, 13_461, 97, 134)),
    (CONFIGURATIONS["npu128"], Resources(15_461, 13_464, 145, 116)),
)


def _compare(config: Accelerator, found: Resources) -> None:
    expected = estimate(config)
    assert (expected.dsp, expected.bram) == (found.dsp, found.bram)
    assert expected.lut == pytest.approx(found.lut, rel=SHARE)
    assert expected.ff == pytest.approx(found.ff, rel=SHARE)


@pytest.mark.parametrize(("config", "found"), SYNTHESISED)
def test_configurations(config: Accelerator, found: Resources) -> None:
    _compare(config, found)


@pytest.mark.slow
def test_synthesis_now() -> None:
    """What the hardware is today: the constants hold until it grows or shrinks by 15 %."""
    from targets.npu.rtl.top import Top

    _compare(BETWEEN, synthesize(rtlil(Top(BETWEEN)), ECP5))


def test_every_size_costs() -> None:
    npu64 = CONFIGURATIONS["npu64"]
    base = asdict(estimate(npu64))
    changes: list[tuple[dict[str, int | bool], set[str]]] = [
        ({"out_lanes": 16}, {"lut", "ff", "dsp", "bram"}),
        ({"requant_lanes": 8}, {"lut", "ff", "dsp", "bram"}),
        ({"a_words": 1 << 15}, {"bram"}),
        ({"w_words": 1 << 11}, {"bram"}),
        ({"p_channels": 1 << 12}, {"bram"}),
    ]
    for change, more in changes:
        found = asdict(estimate(replace(npu64, **change)))  # type: ignore[arg-type]
        assert {cells for cells in base if found[cells] > base[cells]} == more
        assert all(found[cells] >= base[cells] for cells in base)
    logic = estimate(replace(npu64, lut_multipliers=True))
    assert logic.dsp == 4 * 4 + 1 and logic.lut > base["lut"]


def test_what_fits() -> None:
    fits = {
        name: [d.name for d in DEVICES if d.holds(estimate(config))]
        for name, config in CONFIGURATIONS.items()
    }
    assert fits["npu16"][0] == "ECP5-25k"
    assert fits["npu64"] == ["ECP5-85k"]  # 116 block RAMs
