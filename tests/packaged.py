"""Packages built by their own tools in tests, and their examples run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import yaml
from tools import need, need_modules

from edgekit.packages.example import emulator, freestanding_files, machine_files
from targets import Board, boards, target

#: What the example of the digits sample prints.
RIGHT = "edgekit: 10 of 10 bytes equal"
STAND_INS = Path(__file__).parent / "packages" / "stand_ins"
#: What each place needs.
PLACES = {
    "host": ("gcc",),
    "cortex-m4": ("arm-none-eabi-gcc", "qemu-system-arm"),
    "riscv32": ("riscv64-unknown-elf-gcc", "qemu-system-riscv32"),
}


def run(*command: object, cwd: Path, status: int = 0, **environment: object) -> str:
    """Output of a command that must end with `status`, without a warning."""
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        env={
            **os.environ,
            "CFLAGS": "-Wall -Wextra -Werror",
            **{k: str(v) for k, v in environment.items()},
        },
    )
    assert done.returncode == status, done.stdout[-4000:]
    assert "warning" not in done.stdout.lower(), done.stdout[-4000:]
    return done.stdout


def makefile(package: Path, place: str) -> str:
    need("make")
    chosen = [] if place == "host" else [f"TARGET={place}"]
    return run("make", "-j2", "OPT=-O1", *chosen, "run", cwd=package)


def cmake(package: Path, place: str) -> str:
    need("cmake", "make")
    toolchain = [] if place == "host" else [f"-DCMAKE_TOOLCHAIN_FILE=cmake/{place}.cmake"]
    fast = ["-DDIGITS_OPTIMIZE=-O1"] if place == "host" else []
    run("cmake", "-B", "build", *toolchain, *fast, cwd=package)
    run("cmake", "--build", "build", "-j2", cwd=package)
    return run("ctest", "--test-dir", "build", "--verbose", cwd=package)


def arduino(package: Path, place: str) -> str:
    """With arduino-builder, the stand-in for a core, and the package as an installed library."""
    need("arduino-builder")
    chosen, machine = target(place), machine_of(place)
    assert machine is not None
    platform = package.parent / "hardware" / "edgekit" / "qemu"
    core(platform / "cores" / "stand_in", machine)
    shutil.copy(STAND_INS / "arduino" / "platform.txt", platform)
    bare = ["-ffreestanding"] if place == "riscv32" else []
    settings = {
        "name": place,
        "build.board": "QEMU",
        "build.core": "stand_in",
        "build.prefix": chosen.gcc_command.removesuffix("gcc"),
        "build.cpu": " ".join(f for f in (*chosen.gcc_flags, *bare) if f[:2] in ("-m", "-f")),
        "build.link": "-nostdlib -Wl,--gc-sections -Wl,-e,Reset_Handler "
        "-T {build.core.path}/linker.ld",
        "build.libs": " ".join(chosen.gcc_libraries),
    }
    lines = "".join(f"board.{key}={value}\n" for key, value in settings.items())
    (platform / "boards.txt").write_text(lines)
    libraries, build = package.parent / "libraries", package.parent / "build"
    build.mkdir()
    (libraries / "digits").parent.mkdir()
    shutil.copytree(package, libraries / "digits")
    sketch = libraries / "digits" / "examples" / "digits_check" / "digits_check.ino"
    run(
        *("arduino-builder", "-compile", "-warnings", "all", "-fqbn", "edgekit:qemu:board"),
        *("-hardware", "/usr/share/arduino-builder", "-hardware", package.parent / "hardware"),
        *("-tools", "/usr/bin", "-libraries", libraries, "-build-path", build, sketch),
        cwd=package.parent,
    )
    return run(*emulator(machine), build / "digits_check.ino.elf", cwd=package)


def platformio(package: Path, place: str) -> str:
    """With PlatformIO and a stand-in for the platform that platformio.ini names."""
    need_modules("platformio", "SCons")
    machine = machine_of(place)
    assert machine is not None
    home = package.parent / "home"
    shutil.copytree(STAND_INS / "platformio", home / "platforms" / "ststm32")
    _installed(home / "platforms" / "ststm32", "platform", "ststm32", "99.0.0")
    _scons(home / "packages" / "tool-scons")
    core(package.parent / "core", machine)
    project = package / "examples" / "digits_check"
    run(
        *(sys.executable, "-m", "platformio", "run"),
        cwd=project,
        PLATFORMIO_CORE_DIR=home,
        PLATFORMIO_SETTING_ENABLE_TELEMETRY="no",
        STAND_IN_CORE=package.parent / "core",
    )
    (program,) = (project / ".pio" / "build").rglob("program.elf")
    return run(*emulator(machine), program, cwd=package)


def _scons(folder: Path) -> None:
    """SCons of this Python as the package of it that PlatformIO would download."""
    import SCons

    major, minor, patch = map(int, SCons.__version__.split(".")[:3])
    version = f"4.{major}{minor:02}{patch:02}.0"
    folder.mkdir(parents=True)
    about = {"name": "tool-scons", "version": version, "description": "SCons"}
    (folder / "package.json").write_text(json.dumps(about))
    (folder / "scons.py").write_text("import SCons.Script\n\nSCons.Script.main()\n")
    _installed(folder, "tool", "tool-scons", version)


def _installed(folder: Path, kind: str, name: str, version: str) -> None:
    """PlatformIO's record of a package that it has installed."""
    spec = {"owner": "platformio", "id": None, "name": name, "requirements": None, "uri": None}
    record = {"type": kind, "name": name, "version": version, "spec": spec}
    (folder / ".piopm").write_text(json.dumps(record))


def core(folder: Path, machine: Board) -> None:
    """The stand-in for Arduino's core, for a machine of QEMU."""
    files = machine_files(machine)
    if machine.target.name == "riscv32":  # Debian has no C library for it
        files |= freestanding_files()
    folder.mkdir(parents=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name in ("Arduino.h", "core.cpp"):
        shutil.copy(STAND_INS / "arduino" / name, folder)


def machine_of(place: str) -> Board | None:
    return next((b for b in boards().values() if b.qemu and b.target.name == place), None)


def zephyr(package: Path, place: str) -> str:
    need_modules("kconfiglib")
    module = yaml.safe_load((package / "zephyr" / "module.yml").read_text())
    sample = package / "samples" / "digits_check"
    config = kconfig(package / module["build"]["kconfig"], sample / "prj.conf")
    assert config == {"EDGEKIT_DIGITS": "y", "EDGEKIT_DIGITS_OPTIMIZE": "y"}
    config["EDGEKIT_DIGITS_OPTIMIZE"] = "n"  # it takes half the time
    folder = f"-DMODULE_CMAKE={module['build']['cmake']}"
    return _with_cmake(sample, config, folder, ZEPHYR_BASE=STAND_INS / "zephyr")


def esp_idf(package: Path, place: str) -> str:
    need_modules("kconfiglib")
    config = kconfig(package / "Kconfig", None)
    project = package / "examples" / "digits_check"
    return _with_cmake(project, config, IDF_PATH=STAND_INS / "esp_idf")


def kconfig(path: Path, chosen: Path | None) -> dict[str, str]:
    """What a Kconfig file decides, with a file of choices; it may have nothing to warn of."""
    import kconfiglib

    parsed = kconfiglib.Kconfig(str(path), warn_to_stderr=False)
    if chosen is not None:
        ours = "".join(x for x in chosen.read_text().splitlines(True) if "EDGEKIT" in x)
        own = chosen.with_suffix(".ours")
        own.write_text(ours)
        parsed.load_config(str(own))
    assert parsed.warnings == []
    return {s.name: s.str_value for s in parsed.unique_defined_syms}


def _with_cmake(project: Path, config: dict[str, str], *more: str, **environment: object) -> str:
    need("cmake", "make")
    values = [f"-DCONFIG_{k}={v}" for k, v in config.items()]
    run("cmake", "-B", "build", *values, *more, cwd=project, **environment)
    run("cmake", "--build", "build", "-j2", cwd=project, **environment)
    return run("./build/app", cwd=project)


#: By form: builds a package for a place and runs its example; returns what it says.
BUILDERS: dict[str, Callable[[Path, str], str]] = {
    "arduino": arduino,
    "cmake": cmake,
    "esp-idf": esp_idf,
    "makefile": makefile,
    "platformio": platformio,
    "zephyr": zephyr,
}
