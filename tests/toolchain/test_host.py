"""Host builds: libraries for ctypes, and programs under the sanitizers."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from tools import need

from edgekit.toolchain import host_executable, host_library


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def test_a_library_can_be_called(tmp_path: Path, compiler: str) -> None:
    if compiler == "gcc":
        need("gcc")
    source = tmp_path / "f.c"
    source.write_text("int twice(int a);\nint twice(int a) { return a * N; }\n")
    library = ctypes.CDLL(str(host_library([source], defines={"N": "2"}, compiler=compiler)))
    assert library.twice(21) == 42


@pytest.mark.apt
def test_sanitizers_stop_a_program(tmp_path: Path) -> None:
    need("gcc")
    source = tmp_path / "main.c"
    source.write_text(
        "int main(int n, char **v) {\n"
        "  int a[4] = {0};\n  (void)v;\n  for (int i = 0; i < n + 4; i++) a[i] = i;\n"
        "  return a[n - 1];\n}\n"
    )
    plain = host_executable([source], opt="-O0", flags=["-w"])
    assert plain.exists()
    checked = host_executable([source], opt="-O0", flags=["-w"], sanitize=True)
    done = subprocess.run([checked], capture_output=True, text=True)
    assert done.returncode != 0
    assert "stack-buffer-overflow" in done.stderr or "out of bounds" in done.stderr
