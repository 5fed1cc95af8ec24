"""Without EK_PROFILE there is no profiler: the objects are those of sources that never had one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from models import TFLITE, compiled
from shared import needs_shared

from benchmarks.profiling import cost, identical_objects, loaded
from edgekit.devices.firmware.build import firmware_folder
from edgekit.output import Output
from edgekit.toolchain import find_compiler
from targets import Board, board

M4, RISCV = board("virtual-cortex-m4"), board("virtual-riscv32")
ON = {"EK_PROFILE": "", "EK_MAX_LAYERS": "8u"}


def bare(source: Path, folder: Path) -> Path:
    """A copy of a source in which the profiler's macros are cut out, not switched off."""
    text, count = re.subn(r"^.*EK_EDGE\(.*\n|^#include \"ek_profile.h\"\n", "", source.read_text(),
                          flags=re.MULTILINE)  # fmt: skip
    assert count >= 3
    folder.mkdir(exist_ok=True)
    (folder / source.name).write_text(text)
    return folder / source.name


@pytest.mark.parametrize("on", [M4, RISCV], ids=lambda b: b.target.name)
@pytest.mark.parametrize("opt", ["-Os", "-O2"])
def test_not_a_byte_of_runtime_and_model(
    digits: Output, tmp_path: Path, on: Board, opt: str
) -> None:
    cc = find_compiler("zig", on.target)
    include = [digits.sources, firmware_folder() / "include", firmware_folder() / "src"]
    for source in (firmware_folder() / "src" / "ek_runtime.c", digits.sources / "digits.c"):
        cut = bare(source, tmp_path / "cut")
        off = loaded(cc.compile(source, include=include, opt=opt))
        assert sum(map(len, off.values())) > 500
        assert off == loaded(cc.compile(cut, include=include, opt=opt))
        assert off != loaded(cc.compile(source, include=include, opt=opt, defines=ON))


def test_kernels_are_the_same_with_it(digits: Output) -> None:
    assert identical_objects(digits, M4)


@needs_shared
def test_it_costs_less_than_a_thousandth_of_keyword_spotting() -> None:
    for mode in ("interpreter", "aot"):
        found = cost(compiled(TFLITE[0]), M4, mode)
        assert 0 < found.share < 0.001
        assert abs(found.apart) < 0.005
        layers = len(compiled(TFLITE[0]).bundle.layers)
        assert found.more_ram <= 8 * (layers + 1) + 16
