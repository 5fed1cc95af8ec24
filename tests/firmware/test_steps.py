"""One kernel per call: the bytes of a whole inference, refused where it makes no sense. And the
hook between kernels, which is nothing where nobody asks for it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, raw_samples
from state_graphs import accumulator, compiled_graph, stepwise
from tools import need

from edgekit import pipeline
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME_FOLDER, model_sources
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output
from edgekit.reference import run
from edgekit.search.budget import Budget
from edgekit.toolchain import find_compiler, host_executable
from targets import board

HERE = Path(__file__).parent
ROOT = firmware_folder()
M4 = board("virtual-cortex-m4").target

pytestmark = pytest.mark.apt
modes = pytest.mark.parametrize("mode", ["interpreter", "aot"])


def stepped(folder: Output, samples: np.ndarray, mode: str, hook: bool) -> bytes:
    """What step_model.c answers to raw `samples`, under sanitizers."""
    need("gcc")
    app = "ek_app_interpreter.c" if mode == "interpreter" else "ek_app_aot.c"
    sources = [
        p for p in model_sources(folder.sources, folder.name, mode).all
        if p.suffix == ".c" and p.name != app
    ]  # fmt: skip
    program = host_executable(
        [HERE / "step_model.c", *sources],
        include=[folder.sources, folder.sources / RUNTIME_FOLDER],
        defines={
            **({"INTERPRETER": ""} if mode == "interpreter" else {}),
            **({"EK_YIELD_HOOK": ""} if hook else {}),
        },
        sanitize=True,
    )
    done = subprocess.run(
        [program, folder.path / BUNDLE], input=samples.tobytes(), capture_output=True, timeout=120
    )
    assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace")[:3000])
    return done.stdout


@modes
@pytest.mark.parametrize("hook", [False, True], ids=["plain", "hook"])
def test_steps_give_the_bytes_of_a_whole_inference(digits: Output, mode: str, hook: bool) -> None:
    inputs = raw_samples(DIGITS, digits.graph, 9)
    (samples,) = inputs.values()
    want = run(digits.graph, inputs)[digits.graph.outputs[0]]
    assert stepped(digits, samples, mode, hook) == want.tobytes()


@modes
def test_states_outlive_steps(tmp_path: Path, mode: str) -> None:
    folder = compiled_graph(accumulator([5, -7, 100, 3]), tmp_path / "out")
    x = np.random.default_rng(3).integers(-20, 21, (7, 4)).astype(np.int8)
    want = stepwise(folder.graph, x)
    assert stepped(folder, x, mode, hook=False) == want.tobytes()


def test_a_hook_that_is_off_is_no_byte(digits: Output, tmp_path: Path) -> None:
    """The same object code as from sources without the hook, for a device and this machine."""
    name = f"{digits.name}.c"
    for source in (ROOT / "src" / "ek_runtime.c", digits.sources / name):
        text = source.read_text()
        without = re.sub(r"        if \(i \+ 1u < m->call_count\) \{\n.*\n        \}\n", "", text)
        without = re.sub(r".*EK_YIELD\(\d+u\);\n", "", without).replace(
            '#include "ek_yield.h"\n', ""
        )
        assert "EK_YIELD" in text and "EK_YIELD" not in without
        for label, body in (("with", text), ("without", without)):
            (tmp_path / label).mkdir(exist_ok=True)
            (tmp_path / label / source.name).write_text(body)
        for target in (M4, None):
            for opt in ("-Os", "-O2"):
                code = [
                    find_compiler("zig", target).compile(
                        tmp_path / label / source.name,
                        include=[digits.sources, ROOT / "include", ROOT / "src"],
                        opt=opt,
                    )
                    for label in ("with", "without")
                ]
                assert sections(code[0]) == sections(code[1]), (source.name, opt)


def test_a_hook_as_a_macro(digits: Output, tmp_path: Path) -> None:
    """What docs/RUNTIME.md shows: a header of the program's own, included from the command line."""
    header = tmp_path / "rtos.h"
    header.write_text("void task_yield(void);\n#define EK_YIELD(done) task_yield()\n")
    for source in (ROOT / "src" / "ek_runtime.c", digits.sources / f"{digits.name}.c"):
        path = find_compiler("zig", M4).compile(
            source,
            include=[digits.sources, ROOT / "include", ROOT / "src"],
            flags=("-include", str(header)),
        )
        assert b"task_yield" in path.read_bytes()


def test_the_report_names_the_longest_step(digits: Output) -> None:
    report = digits.description["report"]
    longest = max(report["layers"], key=lambda layer: layer["cycles"])
    assert report["longest_step"] == {
        "layer": longest["name"],
        "cycles": longest["cycles"],
        "ms": 1e3 * longest["cycles"] / report["clock_hz"],
        "instructions": longest["instructions"],
    }


def test_a_limit_of_the_longest_step(digits: Output, tmp_path: Path) -> None:
    step = digits.description["report"]["longest_step"]

    def compiled(limit: float) -> pipeline.Compiled:
        return pipeline.compile(
            digits.graph, output=tmp_path / "out", budget=Budget(max_step=limit)
        )

    with pytest.raises(EdgekitError, match="longest step: needs") as caught:
        compiled(step["ms"] / 100)
    assert caught.value.code == "E314" and step["layer"] in str(caught.value)
    assert compiled(step["ms"] * 1.01).report.longest_step.ms == pytest.approx(step["ms"])


def sections(path: Path) -> dict[str, bytes]:
    """Contents of what goes into a program, by section."""
    from elftools.elf.elffile import ELFFile

    with path.open("rb") as file:
        return {
            s.name: s.data()
            for s in ELFFile(file).iter_sections()
            if s["sh_flags"] & 2 and s["sh_type"] != "SHT_NOBITS"
        }
