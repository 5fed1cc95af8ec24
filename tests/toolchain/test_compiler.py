"""Compilers: cached objects, both compilers, and what a failure says."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from tools import need

from edgekit.errors import EdgekitError
from edgekit.toolchain import Compiler, find_compiler, read_sizes
from edgekit.toolchain.cache import cached, source_key
from targets import Target, target, targets

M4 = target("cortex-m4")
BOTH = ["zig", pytest.param("gcc", marks=pytest.mark.apt)]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the compilers were started for."""
    started: list[str] = []
    real = Compiler.run

    def run(self: Compiler, arguments: list[str], code: str, what: object) -> None:
        started.append(str(what))
        real(self, arguments, code, what)

    monkeypatch.setattr(Compiler, "run", run)
    yield started


@pytest.fixture(autouse=True)
def objects_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache for our objects; zig's own stays warm."""
    from edgekit.toolchain.cache import cache_dir

    monkeypatch.setenv("ZIG_GLOBAL_CACHE_DIR", str(cache_dir() / "zig"))
    monkeypatch.setenv("ZIG_LOCAL_CACHE_DIR", str(cache_dir() / "zig"))
    monkeypatch.setenv("EDGEKIT_CACHE_DIR", str(tmp_path / "cache"))


def compiler_of(name: str) -> Compiler:
    if name == "gcc":
        need("arm-none-eabi-gcc")
    return find_compiler(name, M4)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_the_same_text_is_compiled_once_wherever_it_lies(tmp_path: Path, runs: list[str]) -> None:
    cc = compiler_of("zig")
    text = '#include "n.h"\nint f(void);\nint f(void) { return N; }\n'
    for folder in ("a", "b"):
        write(tmp_path / folder / "n.h", "#define N 1\n")
        write(tmp_path / folder / "f.c", text)
    first = cc.compile(tmp_path / "a" / "f.c")
    assert cc.compile(tmp_path / "b" / "f.c") == first
    assert len(runs) == 1


@pytest.mark.parametrize("name", ["zig", "gcc"])
@pytest.mark.parametrize(
    "chosen", [None, *targets().values()], ids=lambda t: t.name if t else "host"
)
def test_flags_of_exactness_reach_every_compiler(
    name: str, chosen: Target | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No fused multiply-add anywhere; and no SLP vectorizer where LLVM's back end breaks it."""
    given: list[list[str]] = []

    def run(self: Compiler, arguments: list[str], code: str, what: object) -> None:
        given.append(arguments)
        Path(arguments[-1]).write_bytes(b"")

    monkeypatch.setattr(Compiler, "run", run)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    cc = Compiler(name, ("none",), chosen, "none")
    cc.compile(write(tmp_path / "f.c", "int f;\n"))
    (arguments,) = given
    assert "-ffp-contract=off" in arguments
    x86 = chosen is None or chosen.architecture == "x86_64"
    assert ("-fno-slp-vectorize" in arguments) == (x86 and name == "zig")


def test_headers_flags_and_macros_make_another_object(tmp_path: Path) -> None:
    cc = compiler_of("zig")
    source = write(
        tmp_path / "f.c", '#include "n.h"\nint f(void);\nint f(void) { return N + M; }\n'
    )
    header = write(tmp_path / "include" / "n.h", '#include "deep.h"\n#define N 1\n')
    write(tmp_path / "include" / "deep.h", "\n")

    def build(opt: str = "-O2", m: str = "1") -> Path:
        return cc.compile(source, include=[tmp_path / "include"], opt=opt, defines={"M": m})

    seen = {build(), build(opt="-Os"), build(m="2")}
    write(tmp_path / "include" / "deep.h", "/* changed */\n")
    seen.add(build())
    header.write_text('#include "deep.h"\n#define N 2\n')
    seen.add(build())
    write(tmp_path / "n.h", "#define N 3\n")  # now shadows the other
    seen.add(build())
    assert len(seen) == 6


def test_computed_includes_are_never_cached(tmp_path: Path, runs: list[str]) -> None:
    source = write(tmp_path / "f.c", '#define H "n.h"\n#include H\nextern int x;\n')
    write(tmp_path / "n.h", "\n")
    assert source_key(source, []) is None
    cc = compiler_of("zig")
    cc.compile(source)
    cc.compile(source)
    assert len(runs) == 2


def test_a_failed_or_raced_build_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        cached("ab" * 32, ".o", fail)

    def succeed(path: Path) -> None:
        path.write_text("whole")

    made = cached("ab" * 32, ".o", succeed)
    assert made.read_text() == "whole"
    assert [p.name for p in made.parent.iterdir()] == [made.name]


@pytest.mark.parametrize("name", BOTH)
def test_objects_come_in_order(tmp_path: Path, name: str) -> None:
    cc = compiler_of(name)
    sources = [
        write(tmp_path / f"f{i}.c", f"int f{i}(void);\nint f{i}(void) {{ return {i}; }}\n")
        for i in range(5)
    ]
    for index, path in enumerate(cc.objects(sources)):
        assert [s.name for s in read_sizes(path).symbols] == [f"f{index}"]


@pytest.mark.parametrize("name", BOTH)
def test_small_copies_are_loads_and_not_calls(tmp_path: Path, name: str) -> None:
    source = write(
        tmp_path / "f.c",
        "#include <stdint.h>\n#include <string.h>\nuint32_t f(const void *p);\n"
        "uint32_t f(const void *p) { uint32_t v; memcpy(&v, p, 4); return v; }\n",
    )
    (symbol,) = read_sizes(compiler_of(name).compile(source)).symbols
    assert symbol.bytes <= 8


@pytest.mark.parametrize("name", BOTH)
def test_a_warning_is_an_error_with_the_compilers_words(tmp_path: Path, name: str) -> None:
    source = write(tmp_path / "bad.c", "int f(int a);\nint f(int a) { int unused; return a; }\n")
    with pytest.raises(EdgekitError, match="unused") as caught:
        compiler_of(name).compile(source)
    assert caught.value.code == "E502"
    assert "bad.c:2" in "\n".join(caught.value.details)


def test_long_complaints_are_cut(tmp_path: Path) -> None:
    source = write(tmp_path / "bad.c", "".join(f"wrong{i} x;\n" for i in range(20)))
    with pytest.raises(EdgekitError) as caught:
        compiler_of("zig").compile(source)
    assert len(caught.value.details) == 12
    assert "lines" in caught.value.help


def test_missing_files_and_compilers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EdgekitError, match=r"cannot read .*nothing.c"):
        compiler_of("zig").compile(tmp_path / "nothing.c")
    with pytest.raises(EdgekitError, match="did you mean 'gcc'"):
        find_compiler("gc", M4)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EdgekitError, match="apt install gcc-arm-none-eabi") as caught:
        find_compiler("gcc", M4)
    assert caught.value.code == "E501"
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(EdgekitError, match="pip install ziglang"):
        find_compiler("zig", M4)
