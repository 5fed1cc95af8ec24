"""Programs of layers for AArch64, built for a Cortex-A in qemu-user and run there."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from built import write_sources

from codegen.program import Program
from edgekit.devices.firmware.build import build_firmware, firmware_folder
from edgekit.devices.session import connect
from targets import board

A53, A76, A510 = (board(f"qemu-cortex-{core}") for core in ("a53", "a76", "a510"))


def run(
    program: Program, folder: Path, feeds: dict[str, np.ndarray], compiler: str = "gcc"
) -> tuple[list[np.ndarray], list[int]]:
    """The outputs, and the instructions of each call."""
    on = next(b for b in (A53, A76, A510) if program.target == b.target.name)
    sources = [*write_sources(program, folder), firmware_folder() / "app" / "ek_app_aot.c"]
    firmware = build_firmware(
        sources, on, include=[folder], compiler=compiler, opt=on.target.kernel_opt, max_layers=256
    )
    inputs = [np.ascontiguousarray(feeds[t.name]).tobytes() for t in program.inputs]
    with connect(on, elf=firmware.elf) as session:
        profile = session.profile(inputs, repeat=1)
        found = session.outputs()
    outputs = [
        np.frombuffer(data, t.dtype).reshape(t.shape)
        for data, t in zip(found, program.outputs, strict=True)
    ]
    return outputs, list(profile.layers)
