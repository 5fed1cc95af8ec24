"""Host builds: libraries for ctypes, and programs under the sanitizers."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from tools import need, need_cpu

from edgekit.toolchain import host_executable, host_library


@pytest.mark.parametrize("compiler", ["zig", pytest.param("gcc", marks=pytest.mark.apt)])
def test_a_library_can_be_called(tmp_path: Path, compiler: str) -> None:
    if compiler == "gcc":
        need("gcc")
    source = tmp_path / "f.c"
    source.write_text("int twice(int a);\nint twice(int a) { return a * N; }\n")
    library = ctypes.CDLL(str(host_library([source], defines={"N": "2"}, compiler=compiler)))
    assert library.twice(21) == 42


#: Wrong with AVX2 in LLVM 22 after the SLP vectorizer: of two vectors, one shifted and one masked,
#: the third lane came out as both together.
LANES = """
#include <stdint.h>
void f(const int32_t *x, const int32_t *y, int32_t *z);
void f(const int32_t *x, const int32_t *y, int32_t *z)
{
    const int32_t a = (x[0] >> 16) + (y[0] >> 16), b = (x[1] >> 16) + (y[1] >> 16);
    const int32_t c = (x[2] & -256) + (y[2] & -256), d = (x[3] >> 16) + (y[3] >> 16);
    z[0] = a;
    z[1] = b;
    z[2] = c;
    z[3] = d;
}
"""


@pytest.mark.parametrize("cpu", ["baseline", "x86_64_v3"])
def test_lanes_of_different_operations(tmp_path: Path, cpu: str) -> None:
    need_cpu(cpu)
    source = tmp_path / "lanes.c"
    source.write_text(LANES)
    library = ctypes.CDLL(str(host_library([source], flags=(f"-mcpu={cpu}",))))
    four = ctypes.c_int32 * 4
    x, y, z = four(-1000000, 1000000, -1000000, 7), four(1, 2, 300, 4), four()
    library.f(x, y, z)
    assert list(z) == [-16, 15, -1000192 + 256, 0]


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
