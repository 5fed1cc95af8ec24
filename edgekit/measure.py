"""What `compile` finds out by building the firmware and running it once on the reference board.

On the virtual board that is cycles (estimated) and instructions, in QEMU instructions only. Where
QEMU is not installed the firmware is built all the same, and what only a run tells is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.bundle import Bundle
from edgekit.devices.firmware.model import FlashParts, flash_parts, model_firmware
from edgekit.devices.profile import Work
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from edgekit.floating import TOLERANCES
from edgekit.output import BUNDLE, SOURCES
from edgekit.report import (
    AcceleratorReport,
    BufferReport,
    GpuReport,
    LayerReport,
    Quality,
    RegionReport,
    Report,
    StateReport,
)
from edgekit.toolchain.link import STACK_BYTES
from targets import Board


@dataclass(frozen=True)
class Measured:
    """Bytes by part; per layer and in all, exact instructions and estimated cycles.

    `cycles` and `total` are None where the target has no cycle model, all that a run tells where
    the board could not run; `why` says why not. `work` are the accelerator's counters by layer.
    """

    parts: FlashParts
    static_ram: int
    stack_bytes: int | None = None
    cycles: tuple[int, ...] | None = None
    total: int | None = None
    layer_instructions: tuple[int, ...] | None = None
    instructions: int | None = None
    why: str = ""
    work: tuple[Work, ...] = ()
    lanes: int = 0


def measure(
    folder: Path,
    files: Mapping[str, bytes | str],
    name: str,
    board: Board,
    bundle: Bundle,
    compiler: str,
) -> Measured:
    """Build the firmware for the reference board, run it there once, and take its measures."""
    for file, body in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body.encode() if isinstance(body, str) else body)
    sources, blob = folder / SOURCES, folder / BUNDLE
    firmware = model_firmware(sources, name, board, bundle=blob, compiler=compiler)
    parts = flash_parts(
        firmware, sources, name, board, constants=blob.stat().st_size, compiler=compiler
    )
    static = sum(
        s.bytes for s in firmware.sizes.symbols if s.section == ".bss" and s.name in _RUNTIME_STATE
    )
    sample = bundle.golden[0]
    try:
        with connect(board, elf=firmware.elf) as session:
            profile = session.profile(list(sample.inputs), repeat=1)
            found = session.outputs()
            stack, _ = session.stack_used()
    except EdgekitError as error:
        if board.route == "virtual" or error.code not in _CANNOT_RUN:
            raise
        return Measured(parts, static, why=error.message)
    if not agree(bundle, board, found, list(sample.outputs)):
        wrong = sum(a != b for f, s in zip(found, sample.outputs, strict=True)
                    for a, b in zip(f, s, strict=True))  # fmt: skip
        raise RuntimeError(f"{wrong} bytes differ between '{board.name}' and the reference")
    if (
        board.linux and profile.counter != "emulator"
    ):  # has a clock, which counts what else the machine does too
        same = "0 bytes differ" if found == list(sample.outputs) else "floats are close enough"
        return Measured(parts, static, stack, why=_TIME_ONLY.format(name=board.name, same=same))
    if board.route != "virtual":
        return Measured(parts, static, stack, None, None, profile.layers, profile.total)
    counting = replace(board, target=replace(board.target, cycle_model="instructions"))
    with connect(counting, elf=firmware.elf) as session:
        exact = session.profile(list(sample.inputs), repeat=1)
    estimated = board.target.estimates_cycles
    return Measured(
        parts,
        static,
        stack,
        profile.layers if estimated else None,
        profile.total if estimated else None,
        exact.layers,
        exact.total,
        work=profile.work if estimated else (),
        lanes=profile.lanes,
    )


def agree(bundle: Bundle, board: Board, found: list[bytes], expected: list[bytes]) -> bool:
    """Whether a sample's outputs are the reference's: the same bytes, or a GPU's floats that are
    close enough."""
    half = bundle.gpu is not None and any(t.half == 1 for t in bundle.gpu.tensors)
    allowed = TOLERANCES["fp16" if half else "fp32"] if board.target.gpu else 0.0
    for tensor, got, want in zip(bundle.outputs, found, expected, strict=True):
        if got == want:
            continue
        if tensor.dtype != "float32" or not allowed:
            return False
        a, b = (np.frombuffer(data, np.float32) for data in (got, want))
        if not (np.abs(a - b) <= allowed * np.abs(b).max()).all():
            return False
    return True


#: The reference board's emulator is not installed, this machine is another or has no such GPU, or
#: the board is reached over a network.
_CANNOT_RUN = ("E602", "E650", "E651", "E670")
_TIME_ONLY = "board '{name}' counts no instructions ({same} there)"
#: RAM of the runtime besides the arena: the opened model and its table of kernels.
_RUNTIME_STATE = ("model", "slots")


def gpu_report_of(program: Any, gpu: Any) -> GpuReport:
    """`gpu` is the `codegen.gpu.program.GpuProgram` of the same model, None where it has states."""
    if gpu is None:
        return GpuReport(why_not="the model has states, the CPU runs it as a whole")
    names = [call.layer for call in program.calls]
    layers = list(zip(names, gpu.layers, strict=True))
    return GpuReport(
        layers=sum(bool(layer.variants) for _, layer in layers),
        variants=sum(len(layer.variants) for _, layer in layers),
        functions=len(gpu.functions),
        arena_bytes=gpu.arena_bytes,
        constant_bytes=len(gpu.constants),
        spirv_bytes=sum(map(len, gpu.spirv.values())),
        on_cpu={name: layer.why_not for name, layer in layers if not layer.variants},
    )


def report_of(
    program: Any, bundle: Bundle, board: Board, measured: Measured, quality: Quality | None
) -> Report:
    layers = tuple(
        LayerReport(
            info.name,
            info.op,
            info.input_shape,
            info.output_shape,
            info.macs,
            info.kernel,
            call.kernel.spec.family,
            info.constant_bytes,
            info.scratch_bytes,
            cycles,
            info.note,
            call.variant,
            call.runner_up,
            instructions,
            AcceleratorReport(**asdict(work)) if work else None,
            call.cost,
        )
        for info, call, cycles, instructions, work in zip(
            bundle.layers,
            program.calls,
            measured.cycles or [None] * len(bundle.layers),
            measured.layer_instructions or [None] * len(bundle.layers),
            measured.work or [None] * len(bundle.layers),
            strict=True,
        )
    )
    stack = STACK_BYTES if measured.stack_bytes is None else measured.stack_bytes
    # A process with a C library runs on a stack of Linux's, which drivers use as well: not counted.
    stacks = {} if board.target.gpu else {"stack": stack}
    return Report(
        name=program.name,
        target=program.target,
        board=board.name,
        clock_hz=board.clock_hz,
        layers=layers,
        flash={
            "kernels": measured.parts.kernels,
            "runtime": measured.parts.runtime,
            "bundle": measured.parts.constants,
        },
        ram={
            "arena": program.arena_bytes,
            "runtime": measured.static_ram,
            **stacks,
        },
        arena_lower_bound=program.arena_lower_bound,
        model_macs=program.model_macs,
        cycles=measured.total,
        instructions=measured.instructions,
        not_measured=measured.why,
        sqnr_db=dict(quality.sqnr_db) if quality else {},
        logits_sqnr_db=quality.logits_sqnr_db if quality else None,
        calibration_samples=quality.samples if quality else 0,
        ram_regions=ram_regions(program, board, measured.static_ram + stack),
        states=tuple(
            StateReport(t.name, t.dtype, t.shape, t.nbytes)
            for t in (state.tensor for state in program.states)
        ),
        wide=_wide(program),
        estimate=board.target.estimate,
        lanes=measured.lanes,
        buffers=tuple(
            BufferReport(b.name, b.kind, b.offset, b.nbytes, b.first, b.last)
            for b in program.placed
        ),
    )


def _wide(program: Any) -> tuple[str, ...]:
    """Layers with int16 results, where there are others too."""
    results = {
        call.layer: o.dtype
        for call in program.calls
        for o in call.kernel.spec.operands
        if o.role == "output"
    }
    wide = tuple(layer for layer, dtype in results.items() if dtype == "int16")
    return wide if "int8" in results.values() else ()


def ram_regions(program: Any, board: Board, used: int) -> tuple[RegionReport, ...]:
    """The buffers of `program` over the RAMs of `board`, fastest first; () where it has only one.

    Args:
        used: bytes of the board's first RAM that stack and data of the program take.

    Raises:
        EdgekitError: E335 where they do not fit.
    """
    from codegen.regions import Memory, plan_regions

    rams = [r for r in board.regions if r.kind == "ram"]
    if len(rams) < 2:
        return ()
    memories = [
        Memory(r.name, max(r.size - used, 0) if r is board.ram else r.size, r.wait_states)
        for r in rams
    ]
    plans = plan_regions(program.buffers, program.sharings, program.traffic, memories)
    sizes = {r.name: r.size for r in rams}
    return tuple(
        RegionReport(p.memory.name, p.memory.wait_states, sizes[p.memory.name],
                     p.plan.arena_bytes, p.traffic, p.stall_cycles)
        for p in plans
    )  # fmt: skip
