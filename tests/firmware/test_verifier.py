"""The runtime in C under sanitizers: it refuses what is damaged and survives what is not caught."""

from __future__ import annotations

import re
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from bundles import ARENA_BYTES, BLEND, TINY, WIDE, Wrong, arena, tensor, wrong_bundles
from tools import need

from edgekit.bundle import CallRef, write_bundle
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.devices.status import STATUS
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import host_executable

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
ROOT = firmware_folder()
RUNTIME = [ROOT / "src" / name for name in ("ek_runtime.c", "ek_verify.c")]
SUPPORT = [ROOT / "src" / name for name in support_files() if name.endswith(".c")]
#: Kernels compute with whatever the constants say. Sums then wrap, as those of the reference do;
#: the runtime itself has no signed arithmetic that this could hide.
FLAGS = ("-fwrapv", "-D_POSIX_C_SOURCE=200112L")


@cache
def _build(kernels: tuple[Path, ...], include: tuple[Path, ...]) -> Path:
    folders = [*include, ROOT / "include", ROOT / "src"]
    sources = [HERE / "fuzz_open.c", *RUNTIME, *kernels]
    return host_executable(sources, include=folders, opt="-O2", flags=FLAGS, sanitize=True)


class Harness:
    """fuzz_open with the kernels of one model, and the model's bundle."""

    def __init__(self, program: Path, bundle: Path) -> None:
        self.program, self.bundle = program, bundle

    def __call__(self, mode: str, *arguments: object, bundle: Path | None = None) -> bytes:
        command = [self.program, mode, bundle or self.bundle, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=120)
        assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
        return done.stdout

    def numbers(self, mode: str, *arguments: object, bundle: Path | None = None) -> list[int]:
        return [int(n) for n in self(mode, *arguments, bundle=bundle).split()]

    def status(self, *arguments: object, bundle: Path | None = None) -> str:
        return STATUS[self.numbers("open", *arguments, bundle=bundle)[0]][0]


@pytest.fixture
def tiny(tmp_path: Path) -> Harness:
    need("gcc")
    (tmp_path / "tiny.ekb").write_bytes(write_bundle(TINY))
    return Harness(_build((HERE / "tiny_kernels.c",), ()), tmp_path / "tiny.ekb")


@pytest.fixture
def model(digits: Output) -> Harness:
    need("gcc")
    kernels = (digits.sources / "kernels.c", digits.sources / "registry.c", *SUPPORT)
    return Harness(_build(kernels, (digits.sources,)), digits.path / BUNDLE)


def test_golden_outputs(model: Harness, digits: Output, tmp_path: Path) -> None:
    for sample in digits.bundle.golden:
        (tmp_path / "input").write_bytes(sample.inputs[0])
        assert model("run", tmp_path / "input") == b"".join(sample.outputs)


def test_the_tiny_bundle_runs(tiny: Harness, tmp_path: Path) -> None:
    sample = TINY.golden[0]
    (tmp_path / "input").write_bytes(sample.inputs[0])
    assert tiny("run", tmp_path / "input") == sample.outputs[0]


def test_kernels_stay_inside_their_operands(model: Harness, digits: Output) -> None:
    assert model.numbers("operands") == [len(digits.bundle.calls)]


def test_every_truncation_is_refused(model: Harness, tiny: Harness) -> None:
    for harness in (model, tiny):
        assert harness.numbers("truncate") == [harness.bundle.stat().st_size]


def test_every_truncation_under_a_right_checksum(model: Harness, tiny: Harness) -> None:
    for harness in (model, tiny):
        cases, opened, ran = harness.numbers("truncate-sealed")
        assert cases == harness.bundle.stat().st_size - 16
        # The runtime reads neither layers nor golden samples, the last things in the file.
        assert cases // 20 < opened == ran < cases


def test_every_flipped_bit_is_refused(model: Harness) -> None:
    assert model.numbers("flip") == [8 * model.bundle.stat().st_size]


def test_every_flipped_bit_under_a_right_checksum(model: Harness) -> None:
    cases, opened, ran = model.numbers("flip-sealed")
    assert cases == 8 * (model.bundle.stat().st_size - 16)
    # Constants, names and golden samples are most of the file and may hold anything.
    assert cases > opened > cases // 2
    assert ran > 500


@pytest.mark.parametrize("seed", range(4))
def test_random_changes_under_a_right_checksum(tiny: Harness, seed: int) -> None:
    cases, opened, ran = tiny.numbers("random", seed, 50_000)
    assert cases == 50_000 and 1_000 < opened < cases and ran > 100


def test_random_changes_of_a_real_model(model: Harness) -> None:
    cases, opened, _ = model.numbers("random", 4711, 10_000)
    assert cases == 10_000 and opened < cases


@pytest.mark.parametrize("wrong", wrong_bundles(), ids=lambda w: w.name)
def test_contradictions_are_refused(wrong: Wrong, tiny: Harness, tmp_path: Path) -> None:
    path = tmp_path / "wrong.ekb"
    path.write_bytes(wrong.data)
    assert tiny.status(ARENA_BYTES, 0, 0, 4, bundle=path) == wrong.status


def test_what_the_caller_gives(tiny: Harness) -> None:
    assert tiny.status() == "OK"
    assert tiny.status(ARENA_BYTES) == "OK"
    status, _, wanted = tiny.numbers("open", ARENA_BYTES - 1)
    assert STATUS[status][0] == "ARENA_TOO_SMALL" and wanted == ARENA_BYTES
    assert tiny.status(0) == "ARENA_TOO_SMALL"
    for shift in (1, 4, 8):
        assert tiny.status(ARENA_BYTES, shift) == "ALIGNMENT"
        assert tiny.status(ARENA_BYTES, 0, shift) == "ALIGNMENT"
    assert tiny.status(ARENA_BYTES, 16, 16) == "OK"
    assert tiny.status(-1, 0, 0, 1) == "OK"
    assert tiny.status(-1, 0, 0, 0) == "TOO_MANY_CALLS"
    assert tiny.status(-1, 0, 0, -1, 0) == "KERNEL_MISSING"


def test_a_kernel_may_have_sixteen_operands(tiny: Harness, tmp_path: Path) -> None:
    """The most that ek_invoke has pointers for; seventeen are among the contradictions."""
    call = CallRef(0, (*(arena(8 * (i % 7), 8) for i in range(15)), arena(0, 8)))
    ports = (replace(tensor("x", 0), shape=(1, 56), nbytes=56),)
    bundle = replace(TINY, kernels=(WIDE,), calls=(call,), inputs=ports, layers=TINY.layers[:1])
    (tmp_path / "wide.ekb").write_bytes(write_bundle(bundle))
    sample = bytes(range(56))
    (tmp_path / "input").write_bytes(sample)
    found = tiny("run", tmp_path / "input", bundle=tmp_path / "wide.ekb")
    summed = [sum(sample[8 * (k % 7) + i] for k in range(15)) % 256 for i in range(8)]
    assert found[:8] == bytes(summed)


def test_kernels_of_another_model(tiny: Harness, model: Harness) -> None:
    assert tiny.status(bundle=model.bundle) == "KERNEL_MISSING"
    assert model.status(bundle=tiny.bundle) == "KERNEL_MISSING"


def test_detail_is_the_index_of_what_is_wrong(tiny: Harness, tmp_path: Path) -> None:
    path = tmp_path / "wrong.ekb"

    def detail(**changes: object) -> int:
        path.write_bytes(write_bundle(replace(TINY, **changes)))  # type: ignore[arg-type]
        return tiny.numbers("open", bundle=path)[1]

    assert detail() == 0
    assert detail(kernels=(BLEND, BLEND, 7)) == 2
    first, second = TINY.calls
    assert detail(calls=(first, second, CallRef(9, second.arguments))) == 2
    far = replace(TINY.inputs[0], offset=100)
    assert detail(inputs=(*TINY.inputs, far)) == 1


def test_no_input_no_call_no_constant(tiny: Harness, tmp_path: Path) -> None:
    """Odd but in order: nothing to do is done."""
    path = tmp_path / "empty.ekb"
    path.write_bytes(
        write_bundle(replace(TINY, kernels=(), calls=(), constants=b"", inputs=(), outputs=()))
    )
    assert tiny.status(bundle=path) == "OK"


def test_status_names_are_those_of_the_header() -> None:
    text = (ROOT / "include" / "ek_status.h").read_text()
    named = {int(n): name for name, n in re.findall(r"EK_([A-Z_]+) = (\d+)[, \n].*", text)}
    enum = {code: name for code, (name, _) in STATUS.items()}
    assert {code: named[code] for code in enum if code > 3} == {
        code: name for code, name in enum.items() if code > 3
    }
