"""The Rust module and a model's own: no warning under the oldest edition that they promise, the
layout of C, and the model's bytes."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, raw_samples
from state_graphs import accumulator
from tools import need, working

from codegen.bindings import bindings
from codegen.lower import build_program
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME, RUNTIME_FOLDER, support_files
from edgekit.devices.status import STATUS
from edgekit.output import BUNDLE, Output
from edgekit.reference import run
from edgekit.toolchain import find_compiler
from targets import target

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
WRAPPER = firmware_folder() / "include" / "edgekit.rs"
WAYS = 5


def rustc(*arguments: str | Path) -> None:
    done = subprocess.run(
        [working("rustc"), "-Dwarnings", *map(str, arguments)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:4000]


def library(folder: Output, to: Path) -> Path:
    """``libmodel.a`` of all C that a model has, and what the test compares with Rust's view."""
    need("gcc", "ar")
    include = [folder.sources, folder.sources / RUNTIME_FOLDER]
    (to / "sizes.c").write_text(
        '#include "edgekit.h"\n#include "model_config.h"\n'
        "extern const size_t model_bytes_in_c, slots_in_c;\n"
        "const size_t model_bytes_in_c = sizeof(ek_model_t);\n"
        "const size_t slots_in_c = EK_MODEL_KERNELS;\n"
    )
    names = ("kernels.c", "registry.c", f"{folder.name}.c")
    support = [n for n in support_files() if n.endswith(".c")]
    sources = [
        *(folder.sources / name for name in names),
        *(folder.sources / RUNTIME_FOLDER / name for name in (*RUNTIME, *support)),
        to / "sizes.c",
    ]
    objects = find_compiler("gcc").objects(sources, include=include)
    path = to / "libmodel.a"
    subprocess.run(["ar", "rcs", path, *objects], check=True)
    return path


def test_every_way_gives_the_models_bytes(digits: Output, tmp_path: Path) -> None:
    source = (HERE / "rust_model.rs").read_text()
    source = source.replace("EDGEKIT_RS", str(digits.sources / RUNTIME_FOLDER / "edgekit.rs"))
    source = source.replace("MODEL_RS", str(digits.sources / f"{digits.name}.rs"))
    (tmp_path / "main.rs").write_text(source)
    library(digits, tmp_path)
    program = tmp_path / "program"
    # Debug assertions are on: overflow, misaligned pointers and null are found.
    rustc(
        tmp_path / "main.rs",
        "--edition=2021",
        "-o",
        program,
        "-L",
        tmp_path,
        "-l",
        "static=model",
        "-Cdebuginfo=0",
    )
    inputs = raw_samples(DIGITS, digits.graph, 6)
    (samples,) = inputs.values()
    done = subprocess.run(
        [program, digits.path / BUNDLE], input=samples.tobytes(), capture_output=True, timeout=60
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    want = run(digits.graph, inputs)[digits.graph.outputs[0]]
    assert done.stdout == np.repeat(want, WAYS, axis=0).tobytes()


@pytest.mark.parametrize("edition", ["2018", "2021"])
def test_without_the_standard_library(edition: str, digits: Output, tmp_path: Path) -> None:
    """A `no_std` crate of the module and two models, one of them with a state."""
    program = build_program(accumulator([0, 0, 0, 1]), target("cortex-m4"))
    (tmp_path / "accumulator.rs").write_text(bindings(program)["accumulator.rs"])
    (tmp_path / "lib.rs").write_text(
        "#![no_std]\n"
        f'#[path = "{WRAPPER}"]\npub mod edgekit;\n'
        f'#[path = "{digits.sources / "digits.rs"}"]\npub mod digits;\n'
        "pub mod accumulator;\n"
        "pub fn keep(m: &mut accumulator::Model) -> i8 { m.state0_mut()[3] }\n"
    )
    rustc(tmp_path / "lib.rs", f"--edition={edition}", "--crate-type=lib", "--emit=metadata",
          "-o", tmp_path / "lib.rmeta")  # fmt: skip


def test_errors_are_the_runtimes_statuses() -> None:
    text = WRAPPER.read_text()
    for code, (name, _) in STATUS.items():
        rust = "".join(part.capitalize() for part in name.split("_"))
        if name in ("OK", "MORE"):
            assert f"const EK_{name}: u32 = {code};" in text
        else:
            assert f"        {code} => Error::{rust},\n" in text
