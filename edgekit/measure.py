"""What `compile` finds out by building the firmware and running it once on the reference board.

On the virtual board that is cycles (estimated) and instructions, in QEMU instructions only. Where
QEMU is not installed the firmware is built all the same, and what only a run tells is None.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit.bundle import Bundle
from edgekit.devices.model import FlashParts, flash_parts, model_firmware
from edgekit.devices.session import Profile, connect
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, SOURCES
from edgekit.report import LayerReport, Quality, Report
from edgekit.toolchain.link import STACK_BYTES
from targets import Board


@dataclass(frozen=True)
class Measured:
    """Bytes by part; estimated cycles and exact instructions, per layer and in all.

    None stands for what the board cannot tell; `why` says so where it did not run at all.
    """

    parts: FlashParts
    static_ram: int
    stack_bytes: int | None = None
    cycles: Profile | None = None
    instructions: Profile | None = None
    why: str = ""


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
        if board.route == "virtual" or error.code != "E602":
            raise
        return Measured(parts, static, why=error.message)
    if found != list(sample.outputs):
        wrong = sum(a != b for f, s in zip(found, sample.outputs, strict=True)
                    for a, b in zip(f, s, strict=True))  # fmt: skip
        raise RuntimeError(f"{wrong} bytes differ between '{board.name}' and the reference")
    if board.route != "virtual":
        return Measured(parts, static, stack, instructions=profile)
    counting = replace(board, target=replace(board.target, cycle_model="instructions"))
    with connect(counting, elf=firmware.elf) as session:
        instructions = session.profile(list(sample.inputs), repeat=1)
    return Measured(parts, static, stack, profile, instructions)


#: RAM of the runtime besides the arena: the opened model and its table of kernels.
_RUNTIME_STATE = ("model", "slots")


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
            instructions,
        )
        for info, call, cycles, instructions in zip(
            bundle.layers,
            program.calls,
            _layers(measured.cycles, len(program.calls)),
            _layers(measured.instructions, len(program.calls)),
            strict=True,
        )
    )
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
            "stack": STACK_BYTES if measured.stack_bytes is None else measured.stack_bytes,
        },
        arena_lower_bound=program.arena_lower_bound,
        cycles=measured.cycles.total if measured.cycles else None,
        instructions=measured.instructions.total if measured.instructions else None,
        not_measured=measured.why,
        sqnr_db=dict(quality.sqnr_db) if quality else {},
        logits_sqnr_db=quality.logits_sqnr_db if quality else None,
        calibration_samples=quality.samples if quality else 0,
    )


def _layers(profile: Profile | None, count: int) -> tuple[int | None, ...]:
    return profile.layers if profile else (None,) * count
