"""A compiled model as firmware for a board, or as a library for this machine."""

from __future__ import annotations

import copy
import ctypes
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit.devices.firmware.build import Firmware, board_defines, build_firmware, firmware_folder
from edgekit.devices.status import describe
from edgekit.errors import EdgekitError
from edgekit.toolchain import find_compiler, host_library, read_sizes
from edgekit.toolchain.cache import key_of
from edgekit.version import __version__
from targets import Board

MODES = ("interpreter", "aot")
RUNTIME = ("ek_runtime.c", "ek_verify.c")
#: What is in firmware/include for the program of a device alone.
DEVICE_HEADERS = ("ek_app.h",)
#: Subfolder of OUT/src with the runtime that the model was compiled for, so that the folder can
#: go into any project as it is and does not change when edgekit does.
RUNTIME_FOLDER = "edgekit"
_GPU_RUNTIME = "ek_gpu_runtime.h"


@dataclass(frozen=True)
class ModelSources:
    """The C files of one build, by the part of the report that they count under."""

    kernels: tuple[Path, ...]
    runtime: tuple[Path, ...]
    app: tuple[Path, ...]

    @property
    def all(self) -> tuple[Path, ...]:
        return (*self.kernels, *self.runtime, *self.app)


@dataclass(frozen=True)
class FlashParts:
    """Flash bytes of a firmware by what they are for."""

    kernels: int
    runtime: int
    device: int
    constants: int

    @property
    def code(self) -> int:
        """Kernels and runtime: what a product links besides its own program."""
        return self.kernels + self.runtime


def runtime_files(accelerator: bool = False, gpu: bool = False) -> dict[str, bytes]:
    """The sources that every compiled model carries, by name: C, and wrappers for C++ and Rust.

    With `accelerator` also its driver, its simulator and the check of its streams; with `gpu` the
    runtime of GPUs, and in it a hash of all of these files.
    """
    root = firmware_folder()
    public = sorted(p for p in (root / "include").iterdir() if p.suffix in (".h", ".hpp", ".rs"))
    files = [p for p in public if p.name not in DEVICE_HEADERS]
    for folder in ("src", *["npu"] * accelerator, *["gpu", "linux"] * gpu):
        files += sorted(p for p in (root / folder).iterdir() if p.suffix in (".c", ".S", ".h"))
    found = {path.name: path.read_bytes() for path in files}
    if gpu:
        found[_GPU_RUNTIME] = _named(found)
    return found


def _named(files: dict[str, bytes]) -> bytes:
    """The header that says which runtime of GPUs `files` are."""
    parts = [__version__, *(x for name, body in files.items() for x in (name, body))]
    empty, named = b"UINT64_C(0x0)", f"UINT64_C(0x{key_of(parts)[:16]})".encode()
    header = files[_GPU_RUNTIME]
    if header.count(empty) != 1:
        raise RuntimeError(f"{_GPU_RUNTIME} has no place for a hash")
    return header.replace(empty, named)


def support_files() -> tuple[str, ...]:
    """Sources that kernels call, by name."""
    sources = sorted((firmware_folder() / "src").iterdir())
    return tuple(p.name for p in sources if p.suffix in (".c", ".S") and p.name not in RUNTIME)


def model_sources(
    source_folder: Path, name: str, mode: str, accelerator: str = "driver"
) -> ModelSources:
    """`source_folder` is OUT/src, `name` the C name of the model, `mode` one of MODES.

    `accelerator` is what stands for it in a model that uses one: "driver", or "sim" on machines
    that have none.
    """
    root = firmware_folder()
    runtime_folder = source_folder / RUNTIME_FOLDER
    support = tuple(runtime_folder / file for file in support_files())
    if (runtime_folder / "ek_npu.h").exists():
        support += tuple(runtime_folder / f"ek_npu_{part}.c" for part in ("check", accelerator))
    kernels = (source_folder / "kernels.c", *support)
    if mode == "aot":
        app = (source_folder / f"{name}.c", root / "app" / "ek_app_aot.c")
        return ModelSources(kernels, (), app)
    runtime = tuple(runtime_folder / file for file in RUNTIME)
    app = (source_folder / "registry.c", root / "app" / "ek_app_interpreter.c")
    return ModelSources(kernels, runtime, app)


def model_firmware(
    source_folder: Path,
    name: str,
    board: Board,
    *,
    mode: str = "interpreter",
    bundle: Path | None = None,
    layers: int = 128,
    compiler: str = "zig",
    profile: bool = True,
    output: Path | None = None,
    transport: str = "uart",
    trigger: bool = False,
) -> Firmware:
    """Build the device program with this model for `board`; `bundle` is model.ekb."""
    sources = [*model_sources(source_folder, name, mode).all, *_gpu_sources(source_folder, board)]
    if board.target.gpu and mode == "interpreter":
        sources = [p for p in sources if p.name != "ek_app_interpreter.c"]
    return build_firmware(
        sources,
        board,
        include=[source_folder, source_folder / RUNTIME_FOLDER],
        compiler=compiler,
        blob=bundle if mode == "interpreter" else None,
        output=output,
        profile=profile,
        max_layers=layers,
        opt=board.target.kernel_opt,
        transport=transport,
        trigger=trigger,
    )


def _gpu_sources(source_folder: Path, board: Board) -> list[Path]:
    """The runtime of GPUs and the program that uses it."""
    if not board.target.gpu:
        return []
    runtime = source_folder / RUNTIME_FOLDER
    runtime_sources = [*sorted(runtime.glob("ek_gpu*.c")), runtime / "ek_system.c"]
    return [*runtime_sources, firmware_folder() / "app" / "ek_app_gpu.c"]


def flash_parts(
    firmware: Firmware,
    source_folder: Path,
    name: str,
    board: Board,
    *,
    mode: str = "interpreter",
    constants: int = 0,
    compiler: str = "zig",
) -> FlashParts:
    """Split the flash of `firmware` by the source that each symbol comes from.

    `constants` is the size of the bundle; in an AOT build the constants are symbols of the model.
    """
    cc = find_compiler(compiler, board.target)
    sources = model_sources(source_folder, name, mode)
    include = [source_folder, source_folder / RUNTIME_FOLDER, firmware_folder() / "include"]
    defines = {**board_defines(board), "EK_PROFILE": "", "EK_MAX_LAYERS": "128u"}
    parts: dict[str, str] = {}
    for part, files in (("kernels", sources.kernels), ("runtime", sources.runtime)):
        for path in cc.objects(
            files, include=include, defines=defines, opt=board.target.kernel_opt
        ):
            parts |= {s.name: part for s in read_sizes(path).symbols}
    sizes = {"kernels": 0, "runtime": 0, "constants": constants}
    for symbol, nbytes in firmware.sizes.flash_by_symbol().items():
        origin: str | None = parts.get(symbol)
        if origin is None and mode == "aot" and symbol[:1] == "c" and symbol[1:2].isdigit():
            origin = "constants"
        if origin is None and symbol.startswith(("call_ek_", "operands_ek_", "ek_kernel")):
            origin = "kernels"
        if origin is not None:
            sizes[origin] += nbytes
    rest = firmware.sizes.flash - sum(sizes.values())
    return FlashParts(sizes["kernels"], sizes["runtime"], rest, sizes["constants"])


class HostModel:
    """A compiled model as a shared library in this process: the same C, the host's compiler.

    Args:
        source_folder: OUT/src.
        name: the C name of the model.
        bundle: contents of model.ekb; only the interpreter reads it.
        mode: one of MODES.

    Raises:
        EdgekitError: E407 where the runtime refuses the bundle; E50x where it does not build.
    """

    def __init__(
        self, source_folder: Path, name: str, bundle: bytes, mode: str = "interpreter"
    ) -> None:
        sources = model_sources(source_folder, name, mode, "sim")
        app = [
            *(p for p in sources.app if p.name != "ek_app_interpreter.c"),
            *([_host_app()] if mode == "interpreter" else []),
        ]
        if (source_folder / RUNTIME_FOLDER / "ek_npu.h").exists():
            app.append(firmware_folder() / "app" / "ek_npu_host.c")
        self._path = host_library(
            [*sources.kernels, *sources.runtime, *app],
            include=[source_folder, source_folder / RUNTIME_FOLDER, firmware_folder() / "include"],
        )
        self._bundle = bundle if mode == "interpreter" else b""
        self._open(self._path)

    def another(self) -> HostModel:
        """The same model with memory of its own, for another thread.

        The library's memory is static, so that it is loaded once more, from a copy.
        """
        twin = copy.copy(self)
        with tempfile.TemporaryDirectory(prefix="edgekit-", ignore_cleanup_errors=True) as folder:
            twin._open(Path(shutil.copy(self._path, folder)))
        return twin

    def _open(self, library: Path) -> None:
        self.library = ctypes.CDLL(str(library))
        if self._bundle:
            # The runtime wants 16-byte alignment and the bundle to stay where it is.
            self._storage = ctypes.create_string_buffer(len(self._bundle) + 16)
            start = -(-ctypes.addressof(self._storage) // 16) * 16
            ctypes.memmove(start, self._bundle, len(self._bundle))
            self.library.ek_host_bundle.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
            self.library.ek_host_bundle(start, len(self._bundle))
        self.library.ek_app_input.restype = ctypes.c_void_p
        self.library.ek_app_output.restype = ctypes.c_void_p
        info = ctypes.create_string_buffer(64)
        status = self.library.ek_app_open(info)
        if status:
            raise EdgekitError("E407", f"the runtime refuses the bundle: {describe(status)}")

    def reset(self) -> None:
        """Give the states of the model their initial content."""
        self.library.ek_app_reset()

    def run(self, inputs: Sequence[bytes]) -> list[bytes]:
        """One inference on raw inputs; returns the raw outputs."""
        size = ctypes.c_uint32()
        for i, data in enumerate(inputs):
            at = self.library.ek_app_input(i, ctypes.byref(size))
            if at is None or size.value != len(data):
                raise EdgekitError(
                    "E205", f"input {i} has {len(data)} bytes, the model wants {size.value}"
                )
            ctypes.memmove(at, data, len(data))
        status = self.library.ek_app_invoke()
        if status:
            raise EdgekitError("E407", f"the model stopped: {describe(status)}")
        outputs: list[bytes] = []
        while (at := self.library.ek_app_output(len(outputs), ctypes.byref(size))) is not None:
            outputs.append(ctypes.string_at(at, size.value))
        return outputs


def _host_app() -> Path:
    return firmware_folder() / "app" / "ek_app_host.c"
