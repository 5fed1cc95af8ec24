"""A model from file to folder for the accelerator: on the host, under sanitizers, and damaged."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tools import need, need_cpu

from codegen.program import Program
from edgekit import pipeline
from edgekit.assemble import bundle_of, golden_samples
from edgekit.build import model_files
from edgekit.bundle import write_bundle
from edgekit.check import check
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import RUNTIME_FOLDER, HostModel, model_sources
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.output import BUNDLE, Output
from edgekit.packages import read_contents
from edgekit.toolchain import Compiler, host_executable
from samples.digits import CALIBRATION, MODEL
from targets.npu.isa import Load

from .exact import program_of
from .models import random_model

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """The digits sample for npu64."""
    folder = tmp_path_factory.mktemp("digits") / "out"
    return pipeline.compile(MODEL, output=folder, target="npu64", calibration=CALIBRATION).output


def test_report_has_a_row_for_each_layer(compiled: Output) -> None:
    layers = compiled.description["report"]["layers"]
    families = {layer["op"]: layer["family"] for layer in layers}
    assert {families[op] for op in families if op != "softmax"} == {"npu"}
    assert families["softmax"] == "c99"
    (cpu,) = [layer for layer in layers if layer["op"] == "softmax"]
    assert "on the CPU: the accelerator has no command for this operator" in cpu["note"]
    assert sum(layer["macs"] for layer in layers) > 0
    constants = [layer["constant_bytes"] for layer in layers if layer["family"] == "npu"]
    assert min(constants) > 8, "each layer has its own weights, not only what it waits for"
    assert sum(constants) == pytest.approx(len(compiled.bundle.constants), rel=0.05)


def test_on_the_host(compiled: Output) -> None:
    rng = np.random.default_rng(0)
    (name,) = compiled.graph.inputs
    shape = compiled.graph.values[name].shape[1:]
    feeds = {name: rng.integers(-128, 128, (20, *shape)).astype(np.int8)}
    theirs = execute(compiled, feeds, "reference")
    for mode in ("interpreter", "aot"):
        ours = execute(compiled, feeds, "host", mode=mode)
        for output in compiled.graph.outputs:
            np.testing.assert_array_equal(ours[output], theirs[output])


def test_no_package(compiled: Output) -> None:
    with pytest.raises(EdgekitError, match="no package") as refused:
        read_contents(compiled.path)
    assert refused.value.code == "E350"


def test_check_knows_the_accelerator() -> None:
    found = {f.op: f.kernel for f in check(MODEL, target="npu64")}
    assert found["conv2d"] == "npu" and found["softmax"] == "c99"


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_no_findings_of_sanitizers(compiled: Output, mode: str) -> None:
    need("gcc")
    root = firmware_folder()
    sources = model_sources(compiled.sources, compiled.name, mode, "sim").all
    app = [p for p in sources if p.suffix == ".c" and p.name != "ek_app_interpreter.c"]
    app += [root / "app" / "ek_npu_host.c", ROOT / "tests" / "firmware" / "run_app.c"]
    app += [root / "app" / "ek_app_host.c"] if mode == "interpreter" else []
    program = host_executable(
        app,
        include=[compiled.sources, compiled.sources / RUNTIME_FOLDER, root / "include"],
        defines={"WITH_BUNDLE": ""} if mode == "interpreter" else {},
        sanitize=True,
    )
    golden = compiled.bundle.golden
    data = b"".join(sample.inputs[0] for sample in golden)
    done = subprocess.run([program, compiled.path / BUNDLE], input=data, capture_output=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:3000]
    assert done.stdout == b"".join(sample.outputs[0] for sample in golden)


def test_the_simulator_with_avx2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """clang 22 made wrong vectors of lanes that came as remainders (DESIGN, "What building
    taught")."""
    need_cpu("x86_64_v3")
    flags = ("-mcpu=x86_64_v3", "-fno-sanitize=undefined")
    monkeypatch.setattr(Compiler, "target_flags", property(lambda self: flags))
    graph = random_model(7, cpu=0)
    program = program_of(graph)
    assert program is not None
    golden = golden_samples(graph, None)
    bundle = bundle_of(program, golden)
    for file, body in model_files(graph, program, bundle).items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
    model = HostModel(tmp_path / "src", program.name, write_bundle(bundle))
    assert model.run(list(golden[0].inputs)) == list(golden[0].outputs)


def test_a_stream_that_the_accelerator_would_refuse_is_refused(tmp_path: Path) -> None:
    """Every field of a bundle's stream may be anything: ek_open says EK_STREAM, nothing runs."""
    graph = random_model(7, cpu=0)
    program = program_of(graph)
    assert program is not None
    golden = golden_samples(graph, None)
    for file, body in model_files(graph, program, bundle_of(program, golden)).items():
        path = tmp_path / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)

    def opened(changed: Program) -> HostModel:
        return HostModel(tmp_path / "src", program.name, write_bundle(bundle_of(changed, golden)))

    assert opened(program).run(list(golden[0].inputs)) == list(golden[0].outputs)
    (start,) = [c for c in program.calls if c.kernel.spec.op == "npu_run"]
    at = start.arguments[0].offset
    first = at + 4 * 4  # behind HEAD: a LOAD
    for place, value in (
        (at, 0x0E),  # no HEAD
        (first, 0x7F),  # no such command
        (first + 4 * Load.fields["count"].word, 0),  # counts nothing
        (first + 4 * Load.fields["offset"].word, 0xFFFF_FFF0),  # outside its region
        (first + 4 * Load.fields["base"].word, 0xF_FFFF),  # outside its memory
    ):
        raw = bytearray(program.constants)
        raw[place : place + 4] = value.to_bytes(4, "little")
        with pytest.raises(EdgekitError) as refused:
            opened(replace(program, constants=bytes(raw)))
        assert refused.value.code == "E407"
        assert "stream" in refused.value.message


def test_no_tvm_for_accelerated_layers() -> None:
    script = (
        "import sys; sys.path[:0] = ['tests/codegen/npu']; from models import random_model; "
        "from codegen.lower import build_program; from targets import target; "
        "p = build_program(random_model(7, cpu=0), target('npu64')); "
        "assert all(c.kernel.spec.family == 'npu' for c in p.calls); "
        "assert 'tvm' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True, timeout=120)
