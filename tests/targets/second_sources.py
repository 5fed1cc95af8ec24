"""Public data about chips, from packages by other hands, to hold board files against."""

from __future__ import annotations

import functools
import json
import os
import zipfile
from pathlib import Path
from types import ModuleType
from typing import Any
from xml.etree import ElementTree

import pytest

#: Chips by the beginning of their name, and pyOCD's register description that has them.
SVD = {
    "STM32F1": "STM32F103xx.svd",
    "STM32F2": "STM32F429x.svd",
    "STM32F4": "STM32F429x.svd",
    "STM32L4": "STM32L4x5.svd",
    "NRF52840": "nrf52840.svd",
    "NRF52833": "nrf52833.svd",
    "NRF52832": "nrf52.svd",
    "NRF5340": "nrf9160.svd",
    "MIMXRT1062": "MIMXRT1062.xml",
}


def package(name: str) -> ModuleType:
    """A development package; the test is skipped without it, but not in CI."""
    if os.environ.get("CI") == "true":
        import importlib

        return importlib.import_module(name)
    return pytest.importorskip(name)


@functools.cache
def modm(chip: str) -> dict[str, dict[str, Any]]:
    """Drivers of a chip in modm-devices, which reads them from the vendors' own tools; {} where
    it has none."""
    root = Path(str(package("modm_devices").__file__)).parent / "resources" / "devices"
    names: dict[str, str] = {}
    for group in json.loads((root / "db.json").read_text()).values():
        names |= group
    name = {"rp2040": "rp2040", "rp2350": "rp2350"}.get(chip.lower(), chip.lower())
    part = next((n for n in sorted(names) if n.startswith(name)), None)
    if part is None:
        return {}
    parser = package("modm_devices.parser").DeviceParser()
    devices = parser.parse(str(root / names[part])).get_devices()
    found = next(d for d in devices if d.partname == part)
    return {d["name"]: d for d in found.properties["driver"]}


def memories(chip: str) -> list[tuple[str, int, int]]:
    """(name, start, end) of a chip's memories in modm-devices, neighbours joined."""
    core = modm(chip).get("core", {})
    ranges = sorted(
        (int(m["start"], 16), int(m["size"]), m["name"]) for m in core.get("memory", [])
    )
    joined: list[tuple[str, int, int]] = []
    for start, size, name in ranges:
        if joined and joined[-1][2] == start:
            joined[-1] = (f"{joined[-1][0]}+{name}", joined[-1][1], start + size)
        else:
            joined.append((name, start, start + size))
    return joined


@functools.cache
def svd(file: str) -> dict[int, set[str]]:
    """``PERIPHERAL.REGISTER`` names by address, from a register description that pyOCD ships.

    Registers in clusters are left out. pyOCD's own reader takes ten seconds for the largest file.
    """
    folder = Path(str(package("pyocd").__file__)).parent / "debug" / "svd"
    with zipfile.ZipFile(folder / "svd_data.zip") as archive, archive.open(file) as stream:
        peripherals = {p.findtext("name"): p for p in ElementTree.parse(stream).iter("peripheral")}
    names: dict[int, set[str]] = {}
    for name, peripheral in peripherals.items():
        base = int(str(peripheral.findtext("baseAddress")), 0)
        owner = peripherals[peripheral.get("derivedFrom") or name]
        for register in owner.findall("registers/register"):
            address = base + int(str(register.findtext("addressOffset")), 0)
            short = str(register.findtext("name")).removeprefix(f"{owner.findtext('name')}_")
            names.setdefault(address, set()).add(f"{name}.{short}".upper())
    return names


def svd_of(chip: str) -> str | None:
    """The register description that has a chip, or its family."""
    return next((f for begin, f in SVD.items() if chip.upper().startswith(begin)), None)
