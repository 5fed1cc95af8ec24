"""Debug probes on USB that this user may not open: why pyOCD does not list them (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

#: USB vendors whose devices are probes: Arm (CMSIS-DAP), ST (ST-Link), SEGGER.
_VENDORS = ("0d28", "0483", "1366")
_PRODUCTS_OF_ST = ("3744", "3748", "374b", "374d", "374e", "374f", "3752", "3753", "3754", "3757")
_NAMES = ("cmsis-dap", "stlink", "st-link", "j-link", "debug probe", "daplink")


def unreadable_probes(
    devices: Path = Path("/sys/bus/usb/devices"), nodes: Path = Path("/dev/bus/usb")
) -> list[str]:
    """USB identifiers "VID:PID" of probes whose device file cannot be written; [] elsewhere."""
    found = []
    for device in sorted(devices.glob("*")) if devices.is_dir() else []:
        vendor, product = _text(device / "idVendor"), _text(device / "idProduct")
        if not vendor or not _is_probe(vendor, product, _text(device / "product")):
            continue
        bus, number = _text(device / "busnum"), _text(device / "devnum")
        node = nodes / bus.zfill(3) / number.zfill(3)
        if node.exists() and not os.access(node, os.W_OK):
            found.append(f"{vendor}:{product}")
    return found


def _is_probe(vendor: str, product: str, name: str) -> bool:
    if vendor == "0483":
        return product in _PRODUCTS_OF_ST
    return vendor in _VENDORS or any(part in name.lower() for part in _NAMES)


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
