"""What the profiler costs: cycles and bytes of KWS with and without it, and how layers add up.

    python -m benchmarks.profiling --shared DIR [--json FILE] [--update FILE]

One inference over the link is executed by firmware with and without EK_PROFILE on the virtual
Cortex-M4; the difference between the two is the profiler, whole. Instructions are exact.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from elftools.elf.elffile import ELFFile

from benchmarks import tables
from benchmarks.models import Model, models
from edgekit import pipeline
from edgekit.devices.find import find_board
from edgekit.devices.firmware.image import load_elf
from edgekit.devices.firmware.model import MODES, model_firmware
from edgekit.devices.routes.virtual import VirtualLink
from edgekit.devices.session import Session
from edgekit.output import BUNDLE, Output
from edgekit.toolchain import find_compiler
from targets import Board


@dataclass(frozen=True)
class Cost:
    """Of one inference: exact instructions, estimated cycles; bytes of flash and RAM.

    `apart` is the share by which the layers' sum differs from the whole run.
    """

    model: str
    mode: str
    instructions: int
    cycles: int
    more_instructions: int
    more_cycles: int
    more_flash: int
    more_ram: int
    apart: float

    @property
    def share(self) -> float:
        """Cycles that the profiler adds, as a share."""
        return self.more_cycles / self.cycles


def cost(folder: Output, board: Board, mode: str) -> Cost:
    """Build with and without the profiler and run each once."""
    inputs = list(folder.bundle.golden[-1].inputs)
    counts, sizes, apart = [], [], 0.0
    for profile in (False, True):
        firmware = model_firmware(
            folder.sources, folder.name, board, mode=mode, bundle=folder.path / BUNDLE,
            layers=len(folder.bundle.layers), profile=profile,
        )  # fmt: skip
        sizes.append(firmware.sizes)
        link = VirtualLink(board, load_elf(firmware.elf))
        with Session(board, link) as session:
            session.load(inputs)
            before = link.machine.counts
            session.invoke()
            counts.append(link.machine.counts - before)
            if profile:
                apart = session.profile(inputs, repeat=1).runs[0].unaccounted
    off, on = counts
    return Cost(
        folder.name,
        mode,
        off.instructions,
        off.cycles,
        on.instructions - off.instructions,
        on.cycles - off.cycles,
        sizes[1].flash - sizes[0].flash,
        sizes[1].ram - sizes[0].ram,
        apart,
    )


def loaded(path: Path) -> dict[str, bytes]:
    """What of an object gets into a program, relocations too: all but debug information."""
    with path.open("rb") as file:
        sections = list(ELFFile(file).iter_sections())
        kept = {s.name: s.data() for s in sections if s["sh_flags"] & 2 and s["sh_size"]}
        relocations = [s for s in sections if re.match(r"\.rela?\.(?!debug)", s.name)]
        return kept | {s.name: s.data() for s in relocations}


def identical_objects(folder: Output, board: Board) -> bool:
    """Whether the kernels are the same bytes with and without EK_PROFILE."""
    cc = find_compiler("zig", board.target)
    include = [folder.sources, folder.sources / "edgekit"]
    off, on = (
        loaded(
            cc.compile(
                folder.sources / "kernels.c", include=include, defines=macros,
                opt=board.target.kernel_opt,
            )
        )
        for macros in ({}, {"EK_PROFILE": "", "EK_MAX_LAYERS": "128u"})
    )  # fmt: skip
    return off == on


def measure(model: Model) -> list[Cost]:
    """Compile the model and measure both ways of running it."""
    board = find_board("virtual-cortex-m4")
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as name:
        folder = pipeline.compile(
            model.path, output=Path(name) / "out", calibration=model.calibration
        ).output
        if not identical_objects(folder, board):
            raise RuntimeError(f"the kernels of {model.name} are others with the profiler")
        return [cost(folder, board, mode) for mode in MODES]


def table(found: Sequence[tuple[Model, Cost]]) -> str:
    """The costs as Markdown."""
    columns = ("model", "mode", "cycles (est.) without", "profiler: cycles", "%", "instructions",
               "flash B", "RAM B", "sum of layers against whole %")  # fmt: skip
    return tables.table(
        columns,
        [
            (f"{m.label} .{m.source}", c.mode, c.cycles, c.more_cycles, f"{100 * c.share:.4f}",
             c.more_instructions, c.more_flash, c.more_ram, f"{100 * abs(c.apart):.4f}")
            for m, c in found
        ],
    )  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--shared", type=Path, required=True, help="folder of models and data")
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    chosen = [m for s in ("tflite", "onnx") for m in models(options.shared, ["kws"], s)]
    found = [(model, c) for model in chosen for c in measure(model)]
    text = table(found)
    print(text)
    if options.json:
        options.json.write_text(json.dumps([asdict(c) for _, c in found], indent=1) + "\n")
    if options.update:
        tables.update(options.update, "profiling", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
