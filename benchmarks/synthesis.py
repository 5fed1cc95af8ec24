"""The accelerator on FPGAs: cells of several configurations, and the clock of those routed.

    python -m benchmarks.synthesis [--no-route] [--seeds N,N] [--json FILE] [--update FILE]

Needs `edgekit[fpga]`. Takes minutes a design: yosys and nextpnr run as WebAssembly on one core.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks import tables
from edgekit.errors import EdgekitError
from targets.npu import synthesis
from targets.npu.config import CONFIGURATIONS, Accelerator
from targets.npu.synthesis import DEVICES, ECP5, Device, Resources, Routed, SynthesisError

#: What is placed and routed: a configuration, or the custom function unit, and its device.
CFU = "CFU"
ROUTES = (("npu64", "ECP5-85k"), ("npu16", "ECP5-25k"), ("npu8", "ECP5-25k"),
          (CFU, "iCE40UP5k"), (CFU, "ECP5-25k"))  # fmt: skip


@dataclass(frozen=True)
class Cells:
    """A configuration as yosys maps it for the ECP5."""

    config: Accelerator
    resources: Resources


def variants() -> list[Accelerator]:
    """The named configurations, and npu64 with one size changed at a time."""
    npu64 = CONFIGURATIONS["npu64"]
    changes: list[dict[str, int | bool]] = [
        {"requant_lanes": 1},
        {"requant_lanes": 8},
        {"a_words": npu64.a_words // 4},
        {"w_words": npu64.w_words // 4},
        {"p_channels": npu64.p_channels // 4},
        {"tables": False},
        {"lut_multipliers": True},
    ]
    named = [
        f"npu64, {key} {getattr(npu64, key):,} to {value:,}" if not isinstance(value, bool)
        else f"npu64, {key} {'on' if value else 'off'}"
        for change in changes
        for key, value in change.items()
    ]  # fmt: skip
    return [
        *CONFIGURATIONS.values(),
        *(
            dataclasses.replace(npu64, name=name, **change)  # type: ignore[arg-type]
            for name, change in zip(named, changes, strict=True)
        ),
    ]


class Cache:
    """Results of a hardware's very text and these tools: what was stopped goes on where it was."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def get(self, key: tuple[str, ...], measure: Callable[[], list[dict[str, Any]]]) -> Any:
        """What `measure` gives, or gave for the same key."""
        tools = [version(package) for package in synthesis.PACKAGES]
        digest = hashlib.sha256(repr((tools, key)).encode()).hexdigest()
        file = self.folder / f"{digest[:20]}.json"
        if not file.exists():
            found = measure()
            self.folder.mkdir(parents=True, exist_ok=True)
            part = file.with_suffix(".part")
            part.write_text(json.dumps(found) + "\n")
            part.replace(file)
        return json.loads(file.read_text())


def cells(config: Accelerator, cache: Cache) -> Cells:
    """Synthesize for the ECP5, without wrapper."""
    from targets.npu.rtl.top import Top

    text = synthesis.rtlil(Top(config))
    found = cache.get(("cells", text), lambda: [asdict(synthesis.synthesize(text, ECP5))])
    return Cells(config, Resources(**found[0]))


def design(name: str) -> object:
    """The hardware of that name as an Amaranth component."""
    from targets.cfu.rtl import Cfu
    from targets.npu.rtl.top import Top

    return Cfu() if name == CFU else Top(CONFIGURATIONS[name])


def route(hardware: object, device: Device, seeds: Sequence[int], cache: Cache) -> Iterator[Routed]:
    """Place and route with each seed."""
    text = synthesis.rtlil(synthesis.one_pin(hardware))
    with tempfile.TemporaryDirectory(prefix="edgekit-bench-") as name:
        netlist = Path(name) / "top.json"

        def one(seed: int) -> list[dict[str, Any]]:
            if not netlist.exists():
                synthesis.synthesize(text, device.family, netlist)
            return [asdict(synthesis.place_and_route(netlist, device, seed))]

        for seed in seeds:
            found = cache.get((device.name, str(seed), text), lambda seed=seed: one(seed))[0]
            yield Routed(**{**found, "path": tuple(found["path"])})


def routed_table(found: Sequence[tuple[str, str, Routed]]) -> str:
    """A row for each design and seed."""
    columns = ("hardware", "FPGA", "seed", "LUT", "FF", "DSP", "block RAM", "fmax MHz")
    rows = [
        (config, device, r.seed, *(_share(r, kind) for kind in ("lut", "ff", "dsp", "bram")),
         f"{r.fmax:.1f}")
        for config, device, r in found
    ]  # fmt: skip
    return tables.table(columns, rows)


def _share(routed: Routed, kind: str) -> str:
    if kind not in routed.used:
        return ""
    used, available = routed.used[kind], routed.available[kind]
    return f"{used:,} of {available:,} ({100 * used / available:.0f} %)"


def cells_table(found: Sequence[Cells]) -> str:
    """A row for each configuration."""
    columns = ("configuration", "N", "R", "A KB", "W KB", "P channels", "LUT", "FF", "DSP",
               "block RAM")  # fmt: skip
    return tables.table(
        columns,
        [
            (c.config.name, c.config.out_lanes, c.config.requant_lanes, c.config.a_bytes >> 10,
             c.config.w_bytes >> 10, c.config.p_channels, c.resources.lut, c.resources.ff,
             c.resources.dsp, c.resources.bram)
            for c in found
        ],
    )  # fmt: skip


def paths_table(found: Sequence[tuple[str, str, Routed]]) -> str:
    """The slowest path of each design's fastest seed; `--json` has its cells and wires."""
    best: dict[tuple[str, str], Routed] = {}
    for config, device, r in found:
        if (config, device) not in best or best[config, device].fmax < r.fmax:
            best[config, device] = r
    columns = ("hardware", "FPGA", "slowest path from", "to", "ns", "of them wires")
    rows = []
    for (config, device), r in best.items():
        steps = [line.split() for line in r.path]
        wires = sum(float(step[0]) for step in steps if step[1] == "routing")
        rows.append((config, device, _register(steps[0][2]), _register(steps[-1][1]),
                     1000 / r.fmax, wires))  # fmt: skip
    return tables.table(columns, rows)


def _register(pin: str) -> str:
    """The signal that a cell's pin holds: yosys puts the cell's type behind its name."""
    return "`" + re.split(r"_(?:TRELLIS_FF|SB_DFF|DP16KD)", pin.removeprefix("design."))[0] + "`"


def measure(options: argparse.Namespace) -> tuple[list[Cells], list[tuple[str, str, Routed]]]:
    """Everything that the options ask for; prints each figure when it is there."""
    counted, routed, cache = [], [], Cache(options.cache)
    for config in variants():
        if not options.only or config.name in options.only:
            counted.append(cells(config, cache))
            print(config.name, counted[-1].resources, flush=True)
    for name, device in ROUTES:
        if options.route and (not options.only or name in options.only):
            for r in route(design(name), DEVICES[device], options.seeds, cache):
                routed.append((name, device, r))
                print(name, device, f"seed {r.seed}: {r.fmax:.1f} MHz", r.used, flush=True)
    return counted, routed


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--no-route", dest="route", action="store_false", help="yosys only")
    parser.add_argument("--only", nargs="*", help="configurations by name")
    parser.add_argument(
        "--seeds", type=lambda text: [int(s) for s in text.split(",")], default=[1],
        help="of the placer, with commas between",
    )  # fmt: skip
    parser.add_argument(
        "--cache", type=Path, default=Path("build/synthesis"), help="folder of results so far"
    )
    parser.add_argument("--json", type=Path, help="write all figures")
    parser.add_argument("--update", type=Path, help="document whose section is replaced")
    options = parser.parse_args(argv)
    try:
        if absent := synthesis.missing():
            raise EdgekitError(
                "E501", f"synthesis needs the Python package '{absent}', which is not installed",
                help="pip install 'edgekit[fpga]'",
            )  # fmt: skip
        counted, routed = measure(options)
    except SynthesisError as error:
        failed = EdgekitError("E502", str(error), details=error.log.splitlines())
        print(failed, file=sys.stderr)
        return 1
    except EdgekitError as error:
        print(error, file=sys.stderr)
        return 1
    text = "\n".join([routed_table(routed), paths_table(routed), cells_table(counted)])
    if options.json:
        figures = {
            "cells": [asdict(c) for c in counted],
            "routed": [{"config": c, "device": d, **asdict(r)} for c, d, r in routed],
        }
        options.json.write_text(json.dumps(figures, indent=1) + "\n")
    if options.update:
        tables.update(options.update, "synthesis", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
