"""The way to an FPGA: what is counted, what is read from reports, and a block through the tools."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from amaranth.back import rtlil
from amaranth.hdl import Module, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from benchmarks.synthesis import Cache, paths_table
from targets.npu import synthesis
from targets.npu.synthesis import DEVICES, ECP5, ICE40, Resources, Routed, SynthesisError


class Products(Component):
    """Products of a memory's words and an input, added up."""

    def __init__(self, promise: bool) -> None:
        super().__init__({
            "read": In(10), "write": In(10), "enable": In(1), "data": In(16),
            "factor": In(signed(16)), "total": Out(signed(40)),
        })  # fmt: skip
        self.attrs = {"no_rw_check": 1} if promise else {}

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=signed(16), depth=1024, init=[], attrs=self.attrs
        )
        read, write = memory.read_port(), memory.write_port()
        word, product = Signal(signed(16)), Signal(signed(32))
        m.d.comb += [
            read.addr.eq(self.read), write.addr.eq(self.write), write.data.eq(self.data),
            write.en.eq(self.enable),
        ]  # fmt: skip
        m.d.sync += [
            word.eq(read.data), product.eq(word * self.factor), self.total.eq(self.total + product)
        ]  # fmt: skip
        return m


def test_only_memories_that_say_so_lose_the_promise() -> None:
    text = rtlil.convert(Products(promise=False), name="top")
    assert "\\COLLISION_X_MASK 1'0" in text
    assert synthesis.without_collision_logic(text) == text
    promised = rtlil.convert(Products(promise=True), name="top")
    changed = synthesis.without_collision_logic(promised)
    assert changed == promised.replace("\\COLLISION_X_MASK 1'0", "\\COLLISION_X_MASK 1'1")
    assert changed != promised


def test_cells_become_places() -> None:
    ecp5 = {"LUT4": 10, "CCU2C": 3, "TRELLIS_DPR16X4": 2, "PFUMX": 5, "TRELLIS_FF": 7, "DP16KD": 4}
    assert synthesis.resources(ecp5, ECP5) == Resources(28, 7, 0, 4)
    ice40 = {"SB_LUT4": 9, "SB_CARRY": 5, "SB_DFF": 2, "SB_DFFESR": 3, "SB_MAC16": 1}
    assert synthesis.resources(ice40, ICE40) == Resources(9, 5, 1, 0, 0)


def _step(kind: str, delay: float, cell: str, port: str) -> dict[str, Any]:
    end = {"cell": cell, "port": port, "loc": [0, 0]}
    return {"type": kind, "delay": delay, "from": end, "to": end, "net": f"net of {cell}"}


def test_a_report_gives_the_slowest_clocks_path() -> None:
    chain = [_step("logic", 0.07, f"c{i}", "FCO") for i in range(4)]
    slow = [_step("clk-to-q", 0.52, "r", "Q"), _step("routing", 1.25, "l", "A"), *chain,
            _step("logic", 0.44, "c", "F"), _step("setup", 0, "q", "DI")]  # fmt: skip
    report = {
        "utilization": {
            "TRELLIS_COMB": {"used": 5, "available": 10},
            "TRELLIS_FF": {"used": 2, "available": 10},
            "MULT18X18D": {"used": 0, "available": 4},
            "DP16KD": {"used": 1, "available": 2},
        },
        "fmax": {
            "$glbnet$a": {"achieved": 120.5, "constraint": 100.0},
            "$glbnet$b": {"achieved": 81.25, "constraint": 100.0},
        },
        "critical_paths": [
            {"from": "posedge $glbnet$a", "to": "posedge $glbnet$a", "path": slow[:1]},
            {"from": "<async>", "to": "posedge $glbnet$b", "path": slow[:1]},
            {"from": "posedge $glbnet$b", "to": "posedge $glbnet$b", "path": slow},
        ],
    }
    found = synthesis.routed(report, ECP5, 3)
    assert (found.fmax, found.seed) == (81.25, 3)
    assert found.used == {"lut": 5, "ff": 2, "dsp": 0, "bram": 1}
    assert found.available["lut"] == 10
    assert found.path == (
        " 0.52 clk-to-q   r.Q", " 1.25 routing    net of l", " 0.28 carry      1 cells",
        " 0.44 logic      c.F", "      into       q.DI",
    )  # fmt: skip


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert synthesis.missing() is None
    monkeypatch.setattr(synthesis, "PACKAGES", ("amaranth", "yowasp_nothing"))
    assert synthesis.missing() == "yowasp_nothing"


def test_a_refused_netlist_says_why(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{")
    with pytest.raises(SynthesisError, match="ERROR") as error:
        synthesis.place_and_route(tmp_path / "bad.json", DEVICES["iCE40UP5k"])
    assert error.value.log


def test_the_command_refuses_without_the_extra() -> None:
    code = (
        "import sys; from targets.npu import synthesis; synthesis.PACKAGES = ('yowasp_nothing',)\n"
        "from benchmarks.synthesis import main; sys.exit(main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "E501" in done.stderr and "pip install 'edgekit[fpga]'" in done.stderr


@pytest.mark.slow
def test_a_block_through_yosys_and_nextpnr(tmp_path: Path) -> None:
    kept = synthesis.synthesize(synthesis.rtlil(Products(promise=False)), ECP5)
    freed = synthesis.synthesize(synthesis.rtlil(Products(promise=True)), ECP5)
    assert (kept.dsp, kept.bram) == (freed.dsp, freed.bram) == (1, 1)
    assert freed.ff < kept.ff and freed.lut < kept.lut
    netlist = tmp_path / "top.json"
    whole = synthesis.rtlil(synthesis.one_pin(Products(promise=True)))
    wrapped = synthesis.synthesize(whole, ECP5, netlist)
    assert (wrapped.dsp, wrapped.bram) == (1, 1)
    # A register for the reset and each of the 53 bits of inputs and 40 of outputs.
    assert wrapped.ff == freed.ff + 1 + 53 + 40
    routed = synthesis.place_and_route(netlist, DEVICES["ECP5-25k"])
    assert routed.used["ff"] == wrapped.ff and routed.available["dsp"] == 28
    assert 60 < routed.fmax < 400 and len(routed.path) > 2


def test_results_are_kept_by_the_hardware(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "kept")
    asked: list[str] = []

    def measure(name: str) -> list[dict[str, Any]]:
        asked.append(name)
        return [{"lut": len(asked)}]

    for key in ("a", "b", "a"):
        found = cache.get(("cells", key), lambda key=key: measure(key))  # type: ignore[misc]
        assert found == [{"lut": 1 if key == "a" else 2}]
    assert asked == ["a", "b"]


def test_the_table_of_paths_has_the_fastest_seed() -> None:
    path = (" 0.52 clk-to-q   design.x.held_TRELLIS_FF_Q_3.Q", " 6.25 routing    design.x.held[3]",
            " 3.23 logic      l.F", "      into       design.y_TRELLIS_FF_Q.DI")  # fmt: skip
    slow = Routed({"lut": 1}, {"lut": 2}, 80.0, path[:1], 1)
    fast = Routed({"lut": 1}, {"lut": 2}, 100.0, path, 2)
    text = paths_table([("npu64", "ECP5-85k", slow), ("npu64", "ECP5-85k", fast)])
    assert text.splitlines()[2:] == ["| npu64 | ECP5-85k | `x.held` | `y` | 10.00 | 6.25 |"]
