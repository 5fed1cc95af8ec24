"""One C compiler for one target (or the host): its command line, version, and cached objects."""

from __future__ import annotations

import functools
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.toolchain.cache import cache_dir, cached, key_of, source_key
from targets import Target

COMPILERS = ("zig", "gcc")
_WARNINGS = ("-std=c99", "-Wall", "-Wextra", "-Werror")
# float32 is the same on every core only where products and sums are rounded one by one.
_EXACT = ("-ffp-contract=off",)
# LLVM's x86 back end merges lanes of different operations wrongly once the SLP vectorizer has made
# one vector of them (DESIGN "What building taught"); speed is the same without.
_X86_ZIG = ("-fno-slp-vectorize",)
# No unwind tables: nothing on a device reads them, and they would take flash.
_BARE = (
    "-ffreestanding",
    "-ffunction-sections",
    "-fdata-sections",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-common",
)
#: For programs that a dynamic loader puts anywhere, whose symbols are nobody else's.
_LOADED = (*_BARE, "-fPIC", "-fvisibility=hidden")
_JOBS = 2
_SHOWN_LINES = 12


def freestanding_include() -> Path:
    """Folder of the headers that stand in for a libc on freestanding targets."""
    import firmware

    return Path(str(firmware.__file__)).parent / "include" / "freestanding"


@dataclass(frozen=True)
class Compiler:
    """A compiler bound to a target.

    Attributes:
        name: "zig" or "gcc".
        command: how it is started, without the target's flags.
        target: None for the host.
        version: what the compiler says of itself; part of every cache key.
    """

    name: str
    command: tuple[str, ...]
    target: Target | None
    version: str

    @property
    def target_flags(self) -> tuple[str, ...]:
        """Flags that choose the CPU; the same for compiling and linking."""
        if self.name == "zig":
            # Without it, zig plants undefined-behaviour traps in unoptimised builds.
            common = ("-fno-sanitize=undefined",)
            if self.target is None:
                # Not this CPU's extras: a cache may travel to another machine.
                return ("-mcpu=baseline", *common)
            cpu = (f"-mcpu={self.target.zig_cpu}", *self.target.zig_flags)
            return ("-target", self.target.zig_triple, *cpu, *common)
        return self.target.gcc_flags if self.target else ()

    @property
    def exact_flags(self) -> tuple[str, ...]:
        """Flags without which C of ours may give other bytes; never to be left away."""
        architecture = self.target.architecture if self.target else platform.machine().lower()
        x86 = self.name == "zig" and architecture in ("x86_64", "amd64")
        return (*_EXACT, *(_X86_ZIG if x86 else ()))

    def compile(
        self,
        source: Path,
        *,
        include: Sequence[Path] = (),
        defines: Mapping[str, str] | None = None,
        opt: str = "-O2",
        flags: Sequence[str] = (),
    ) -> Path:
        """Compile one .c or .S file; returns the object's path in the cache.

        Args:
            include: folders searched for headers, in order.
            defines: macro names to values; an empty value gives ``-DNAME``.
            opt: optimisation level.
            flags: further flags.

        Raises:
            EdgekitError: E502 with the first lines of what the compiler said.
        """
        kind: tuple[str, ...] = ("-fPIC",)
        if self.target is not None:
            kind = _LOADED if self.target.gpu else _BARE
            include = (*include, freestanding_include())
        fixed = (*self.target_flags, opt, *kind, *flags)
        if source.suffix == ".c":
            fixed = (*_WARNINGS, *self.exact_flags, *fixed)
        macros = tuple(f"-D{k}={v}" if v else f"-D{k}" for k, v in (defines or {}).items())
        paths = [f"-I{d}" for d in include]

        def make(path: Path) -> None:
            self.run([*fixed, *macros, *paths, "-c", str(source), "-o", str(path)], "E502", source)

        try:
            text = source_key(source, include)
        except OSError as error:
            raise EdgekitError(
                "E502", f"cannot read {source}: {error.strerror}", help="compile the model again"
            ) from error
        if text is None:
            text = [os.urandom(32)]
        key = key_of((self.version, source.suffix, *fixed, *macros, "--", *text))
        return cached(key, ".o", make)

    def objects(
        self,
        sources: Sequence[Path],
        *,
        include: Sequence[Path] = (),
        defines: Mapping[str, str] | None = None,
        opt: str = "-O2",
        flags: Sequence[str] = (),
        jobs: int = _JOBS,
    ) -> list[Path]:
        """`compile` for every source, `jobs` at a time, in the order of `sources`."""
        with ThreadPoolExecutor(jobs) as pool:
            futures = [
                pool.submit(self.compile, s, include=include, defines=defines, opt=opt, flags=flags)
                for s in sources
            ]
            return [f.result() for f in futures]

    def run(self, arguments: Sequence[str], code: str, what: object) -> None:
        """Run the compiler; a failure becomes an `EdgekitError` with its first lines."""
        try:
            done = subprocess.run(
                [*self.command, *arguments],
                capture_output=True,
                text=True,
                errors="replace",
                env=_environment(),
            )
        except OSError as error:
            raise EdgekitError("E501", f"cannot start {self.command[0]}: {error}") from error
        if done.returncode:
            said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
            raise EdgekitError(
                code,
                f"{self.name} failed on {what} (exit status {done.returncode})",
                details=said[:_SHOWN_LINES] or ["(it said nothing)"],
                help=f"the whole output has {len(said)} lines" if len(said) > _SHOWN_LINES else "",
            )


def find_compiler(name: str = "zig", target: Target | None = None) -> Compiler:
    """The compiler called `name` for `target`, or for this machine where `target` is None.

    Raises:
        EdgekitError: E501, unknown or not installed, with how to install it.
    """
    if name == "zig":
        command: tuple[str, ...] = (_zig(),)
        version = "zig " + _first_line((*command, "version"))
        command = (*command, "cc")
    elif name == "gcc":
        wanted = target.gcc_command if target else "gcc"
        path = shutil.which(wanted)
        if path is None:
            package = target.gcc_package if target else "gcc"
            raise EdgekitError(
                "E501",
                f"compiler '{wanted}' is not installed",
                help=f"Debian/Ubuntu: apt install {package}; or use --compiler zig",
            )
        command, version = (path,), _first_line((path, "--version"))
    else:
        hint = did_you_mean(name, list(COMPILERS))
        raise EdgekitError("E501", f"unknown compiler '{name}'", help=hint)
    return Compiler(name, command, target, version)


def _zig() -> str:
    spec = importlib.util.find_spec("ziglang")
    if spec is None or spec.origin is None:
        raise EdgekitError(
            "E501",
            "compiler 'zig' is not installed",
            help=f"{sys.executable} -m pip install ziglang",
        )
    return str(Path(spec.origin).parent / ("zig.exe" if sys.platform == "win32" else "zig"))


@functools.cache
def _first_line(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    except OSError as error:
        raise EdgekitError("E501", f"cannot start {command[0]}: {error}") from error
    return (done.stdout.splitlines() or ["unknown version"])[0]


def _environment() -> dict[str, str]:
    """Ours, with zig's cache beside our own so that there is one folder to keep or delete."""
    cache = str(cache_dir() / "zig")
    defaults = {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    return {**defaults, **os.environ, "LC_ALL": "C"}
