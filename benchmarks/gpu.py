"""GPU targets: what variants take of a device, and whether their bytes are the reference's.

    python -m benchmarks.gpu --shared DIR [--float fp32|fp16] [--models kws,ad01]
        [--boards gpu-pocl] [--samples 8] [--oclgrind [--unset]] [--llvm] [--json FILE]
        [--update FILE]

For each model: variants, the most local memory and registers (estimated) of a function, what was
refused, layers that are left to the CPU, and bytes that differ on each board from the numpy
reference. ``--oclgrind`` runs the first and last groups of every launch of every variant of every
layer of the models there, at their real sizes, equal launches once, and looks for races and invalid
accesses; with ``--unset`` also for memory that nobody set, which takes eight times as long (small
layers run whole, with all checks, in the tests). ``--llvm`` compiles every function for an AMD GPU,
without unrolling loops, and prints its registers beside the estimates.

There are no times: the devices here are CPUs, and say nothing of a GPU.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import numpy as np

from benchmarks import tables
from benchmarks.models import TFLITE, names_of
from codegen.gpu import oclgrind
from codegen.gpu.kernel import Function, Launch, Place, Variant
from codegen.gpu.lower import build_gpu_program
from codegen.gpu.program import ARENA, GpuProgram, PlacedVariant
from codegen.lower import build_program
from edgekit import data, pipeline
from edgekit.devices.find import find_board, find_target
from edgekit.graph import Graph
from edgekit.output import open_output
from edgekit.validate import validate

TARGET = "gpu-x86_64"
MCUNET = "mcunet"
BOARDS = "gpu-pocl,gpu-rusticl"
#: What `--llvm` asks for registers; the library of its built-in functions is Debian's libclc-15.
LLVM = (
    *("clang-15", "-x", "cl", "-cl-std=CL1.2", "-Xclang", "-finclude-default-header"),
    *("-target", "amdgcn--", "-mcpu=gfx900", "-Xclang", "-mlink-builtin-bitcode"),
    *("-Xclang", "/usr/lib/clc/gfx900-amdgcn--.bc", "-O2", "-fno-unroll-loops", "-S", "-o", "-"),
)


@dataclass(frozen=True)
class Result:
    """A model on a GPU target. `different` are bytes of all samples' outputs, by board."""

    name: str
    layers: int
    on_cpu: dict[str, str]
    variants: int
    functions: int
    local_bytes: int
    registers: int
    refused: tuple[str, ...]
    samples: int
    different: dict[str, int] = field(default_factory=dict)
    notices: dict[str, tuple[str, ...]] = field(default_factory=dict)
    launches: int = 0
    findings: tuple[str, ...] | None = None
    llvm: tuple[tuple[int, int], ...] = ()


def model_file(shared: Path, name: str, precision: str | None) -> Path:
    if name == MCUNET:
        return shared / "models" / "mcunet_tinyengine_vww.tflite"
    file = f"mlperf_tiny_{name}_float32.onnx" if precision else TFLITE[name]
    return shared / "models" / file


def samples_of(shared: Path, name: str, graph: Graph, count: int) -> dict[str, np.ndarray]:
    """The first samples of the evaluation data; random ones where there are none of its shape."""
    path = shared / "data" / f"{name}_eval.npz"
    if path.is_file():
        loaded = data.load(path, graph)
        return data.quantize_inputs(graph, {k: x[:count] for k, x in loaded.arrays.items()})
    chance = np.random.default_rng(0)
    return {
        n: chance.integers(-128, 128, (count, *graph.values[n].sample_shape)).astype(np.int8)
        for n in graph.inputs
    }


def measure(
    shared: Path, name: str, precision: str | None, boards: list[str], options: argparse.Namespace
) -> Result:
    path = model_file(shared, name, precision)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        out = Path(scratch) / "out"
        pipeline.compile(path, output=out, target=TARGET, precision=precision)
        folder = open_output(out)
        graph = folder.graph
        feeds = samples_of(shared, name, graph, options.samples)
        different, notices = {}, {}
        for board in boards:
            found = validate(folder, find_board(board), feeds)
            different[board], notices[board] = found.different_bytes, found.notices
        program = build_program(graph, find_target(TARGET), optimize="speed")
        gpu = build_gpu_program(graph, program)
        launches, findings = (
            checked(gpu, Path(scratch) / "oclgrind", options.unset)
            if options.oclgrind
            else (0, None)
        )
        llvm = tuple(llvm_registers(gpu)) if options.llvm else ()
    return Result(
        name=name,
        layers=len(gpu.layers),
        on_cpu={
            call.layer: layer.why_not
            for call, layer in zip(program.calls, gpu.layers, strict=True)
            if not layer.variants
        },
        variants=sum(len(layer.variants) for layer in gpu.layers),
        functions=len(gpu.functions),
        local_bytes=max((f.local_bytes for f in gpu.functions), default=0),
        registers=max((f.registers for f in gpu.functions), default=0),
        refused=tuple(why for layer in gpu.layers for why in layer.refused),
        samples=options.samples,
        different=different,
        notices=notices,
        launches=launches,
        findings=None if findings is None else tuple(findings),
        llvm=llvm,
    )


def checked(gpu: GpuProgram, folder: Path, unset: bool) -> tuple[int, list[str]]:
    """How many launches differ from each other, and what Oclgrind says of their first and last
    groups on random operands."""
    chance = np.random.default_rng(0)
    seen: set[tuple[object, ...]] = set()
    found = []
    for number, layer in enumerate(gpu.layers):
        inputs = [
            chance.integers(0, 60, gpu.tensors[i].nbytes).astype(np.uint8) for i in layer.inputs
        ]
        outputs = [gpu.tensors[i].nbytes for i in layer.outputs]
        for placed in layer.variants:
            variant = standalone(gpu, placed, layer.inputs, layer.outputs)
            for launch, where in zip(variant.launches, placed.launches, strict=True):
                sizes = tuple(a.nbytes for a in where.arguments)
                key = (launch.function.text, launch.global_size, launch.local_size, sizes)
                if key in seen:
                    continue
                seen.add(key)
                for finding in oclgrind.check_ends(
                    variant, launch, gpu.prelude, inputs, outputs, folder, unset=unset
                ):
                    found.append(f"layer {number}, {placed.name}: {finding}")
    return len(seen), found


def standalone(
    gpu: GpuProgram, placed: PlacedVariant, inputs: tuple[int, ...], outputs: tuple[int, ...]
) -> Variant:
    """A variant on buffers of its own again, as its maker offered it."""
    places: dict[tuple[int, int, int], Place] = {}
    for kind, indices in (("input", inputs), ("output", outputs)):
        for i, index in enumerate(indices):
            tensor = gpu.tensors[index]
            places.setdefault((ARENA, tensor.offset, tensor.nbytes), Place(kind, i))
    constants, scratch = {}, {}
    launches = []
    for launch in placed.launches:
        arguments = []
        for a in launch.arguments:
            key = (a.space, a.offset, a.nbytes)
            if key not in places:
                name = f"{'scratch' if a.space == ARENA else 'constant'}{len(places)}"
                if a.space == ARENA:
                    places[key], scratch[name] = Place("scratch", name=name), a.nbytes
                else:
                    raw = gpu.constants[a.offset : a.offset + a.nbytes]
                    places[key] = Place("constant", name=name)
                    constants[name] = np.frombuffer(raw, np.uint8)
            arguments.append(places[key])
        launches.append(
            Launch(launch.function, tuple(arguments), launch.global_size, launch.sizes[0])
        )
    return Variant(placed.name, tuple(launches), constants, scratch)


def llvm_registers(gpu: GpuProgram) -> Iterator[tuple[int, int]]:
    """(estimate, vector registers that LLVM takes) of each function."""
    for function in gpu.functions:
        yield function.registers, compiled_registers(gpu.prelude, function)


def compiled_registers(prelude: str, function: Function) -> int:
    with tempfile.NamedTemporaryFile("w", suffix=".cl") as source:
        source.write(prelude + function.text)
        source.flush()
        text = subprocess.run(
            [*LLVM, source.name], capture_output=True, text=True, check=True
        ).stdout
    used = re.findall(r"\bv(\d+)\b|\bv\[\d+:(\d+)\]", text)
    return max(int(a or b) for a, b in used) + 1


def table(results: list[Result], boards: list[str]) -> str:
    """A row for each model; without what Oclgrind finds where it ran for none."""
    grind = any(r.findings is not None for r in results)
    columns = (
        *("model", "layers", "on the CPU", "variants", "functions", "local memory B"),
        *("registers (est.)", "beyond limits"),
        *(f"bytes different on {b}" for b in boards),
        *(("launches in Oclgrind", "findings") if grind else ()),
    )
    rows = [
        (
            r.name,
            r.layers,
            len(r.on_cpu),
            r.variants,
            r.functions,
            r.local_bytes,
            r.registers,
            len(r.refused),
            *(r.different[b] for b in boards),
            *((r.launches, None if r.findings is None else len(r.findings)) if grind else ()),
        )
        for r in results
    ]
    return tables.table(columns, rows)


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--float", dest="precision", choices=["fp32", "fp16"])
    parser.add_argument("--models", help="names, separated by commas")
    parser.add_argument("--boards", default=BOARDS, help="names, separated by commas")
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--oclgrind", action="store_true")
    parser.add_argument("--unset", action="store_true", help="Oclgrind looks for unset memory too")
    parser.add_argument("--llvm", action="store_true")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    every = [*TFLITE, *([] if options.precision else [MCUNET])]
    asked = options.models.split(",") if options.models else every
    names_of(",".join(n for n in asked if n != MCUNET))
    boards = [b for b in options.boards.split(",") if b]
    results = [measure(options.shared, n, options.precision, boards, options) for n in asked]
    text = table(results, boards)
    print(text)
    for r in results:
        for layer, why in r.on_cpu.items():
            print(f"{r.name}: {layer} is the CPU's: {why}")
        for line in (*r.refused, *(r.findings or ())):
            print(f"{r.name}: {line}")
        for board, said in r.notices.items():
            for notice in said:
                print(f"{r.name} on {board}: {notice}")
    if pairs := [p for r in results for p in r.llvm]:
        shares = sorted(taken / estimate for estimate, taken in pairs)
        print(
            f"LLVM's registers per estimated one, {len(pairs)} functions: {shares[0]:.2f} to "
            f"{shares[-1]:.2f}, median {median(shares):.2f}; above 64: "
            f"{sum(taken > 64 for _, taken in pairs)}"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(r) for r in results], indent=1) + "\n")
    if options.update:
        tables.update(options.update, f"gpu{options.precision or ''}", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
