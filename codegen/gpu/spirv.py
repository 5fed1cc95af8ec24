"""Functions of OpenCL C as shaders of Vulkan, by clspv (PyPI: pyclspv, the extra "vulkan").

clspv runs in a process of its own: it is C++ that prints, and may end the process. What it makes is
looked at before it is believed: arguments must be the bindings 0, 1, ... of set 0, as the runtime
binds them, and only capabilities that the runtime asks devices for may be used. Its reflection
section is taken out; Vulkan 1.1 does not know it.
"""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from codegen.gpu.program import GpuProgram
from edgekit.toolchain.cache import cached, key_of

#: Vectors of sixteen are not clspv's: bytes go by words, which `ek_quarter` takes apart.
BEFORE = "#define char16 int4\n"
MAGIC, HEADER_WORDS = 0x07230203, 5
SPECIALIZED = (0, 1, 2)
#: Names of what shaders may need: ek_gpu_vulkan_open.c asks for these.
CAPABILITIES = {1: "Shader", 11: "Int64", 22: "Int16", 39: "Int8",
                4433: "StorageBuffer16BitAccess", 4448: "StorageBuffer8BitAccess"}  # fmt: skip
_OP_EXTENSION, _OP_IMPORT, _OP_EXT_INST, _OP_STRING = 10, 11, 12, 7
_OP_CAPABILITY, _OP_DECORATE, _OP_MEMORY_MODEL = 17, 71, 14
_BINDING, _DESCRIPTOR_SET, _SPEC_ID = 33, 34, 1
_SECONDS = 120


@dataclass(frozen=True)
class Shaders:
    """SPIR-V by the name of its function, and why others have none."""

    spirv: dict[str, bytes]
    refused: dict[str, str]


def available() -> bool:
    """Whether clspv is installed."""
    return importlib.util.find_spec("pyclspv") is not None


def shaders(program: GpuProgram) -> Shaders:
    """Those of all functions of a program; none where clspv is not installed."""
    if not available():
        return Shaders({}, {})
    counts = {
        launch.function.name: len(launch.arguments)
        for layer in program.layers
        for variant in layer.variants
        for launch in variant.launches
    }
    spirv, refused = {}, {}
    for function in program.functions:
        source = f"{BEFORE}{program.prelude}\n{function.text}"
        key = key_of(["spirv", version("pyclspv"), source])
        path = cached(key, ".spv", lambda out, text=source: _compile(text, out))  # type: ignore[misc]
        data = path.read_bytes()
        reason = data[1:].decode() if data[:1] == b"!" else wrong(data, counts[function.name])
        if reason:
            refused[function.name] = reason
        else:
            spirv[function.name] = data
    return Shaders(spirv, refused)


def _compile(source: str, out: Path) -> None:
    """The shader of a source, or ``!`` and why there is none."""
    try:
        done = subprocess.run(
            [sys.executable, "-m", "codegen.gpu.spirv_worker"],
            input=source.encode(), capture_output=True, timeout=_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        out.write_bytes(f"!clspv did not end within {_SECONDS} s".encode())
        return
    if done.returncode != 0 or done.stdout[:4] != struct.pack("<I", MAGIC):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        fault = next((line for line in said if "error" in line), said[-1] if said else "")
        out.write_bytes(f"!clspv refuses it: {fault}".encode())
        return
    out.write_bytes(without_reflection(done.stdout))


# ---- SPIR-V as words


def _instructions(words: Sequence[int]) -> Iterator[tuple[int, Sequence[int]]]:
    """Opcode and operands of each instruction.

    Raises:
        ValueError: where one is longer than what is left.
    """
    at = HEADER_WORDS
    while at < len(words):
        length, opcode = words[at] >> 16, words[at] & 0xFFFF
        if length == 0 or at + length > len(words):
            raise ValueError(f"instruction at word {at} is {length} words long")
        yield opcode, words[at + 1 : at + length]
        at += length


def _words(data: bytes) -> tuple[int, ...]:
    if len(data) % 4 or len(data) < 4 * HEADER_WORDS:
        raise ValueError(f"{len(data)} B are no module")
    words = struct.unpack(f"<{len(data) // 4}I", data)
    if words[0] != MAGIC:
        raise ValueError(f"it begins with {words[0]:#x}")
    return words


def _text(operands: Sequence[int]) -> str:
    return struct.pack(f"<{len(operands)}I", *operands).split(b"\0")[0].decode("utf-8", "replace")


def without_reflection(data: bytes) -> bytes:
    """The module without what tells of itself: non-semantic instructions and their texts."""
    words = _words(data)
    sets = {
        operands[0]
        for opcode, operands in _instructions(words)
        if opcode == _OP_IMPORT and _text(operands[1:]).startswith("NonSemantic.")
    }
    kept = list(words[:HEADER_WORDS])
    for opcode, operands in _instructions(words):
        gone = (
            (opcode == _OP_IMPORT and operands[0] in sets)
            or (opcode == _OP_EXT_INST and operands[2] in sets)
            or (opcode == _OP_EXTENSION and "non_semantic_info" in _text(operands))
            or opcode == _OP_STRING
        )
        if not gone:
            kept += [(len(operands) + 1) << 16 | opcode, *operands]
    return struct.pack(f"<{len(kept)}I", *kept)


def wrong(data: bytes, arguments: int) -> str:
    """What keeps a shader from running as a function of so many buffers; "" where nothing does."""
    try:
        found = list(_instructions(_words(data)))
    except ValueError as error:
        return str(error)
    decorations: dict[int, dict[int, int]] = {}
    needs = []
    for opcode, operands in found:
        if opcode == _OP_CAPABILITY:
            needs.append(operands[0])
        elif opcode == _OP_DECORATE and len(operands) == 3:
            decorations.setdefault(operands[0], {})[operands[1]] = operands[2]
    if other := sorted(set(needs) - set(CAPABILITIES)):
        return f"it needs capabilities {other} of devices"
    bound = [d for d in decorations.values() if _BINDING in d]
    places = sorted((d.get(_DESCRIPTOR_SET, -1), d[_BINDING]) for d in bound)
    if any(place not in [(0, i) for i in range(arguments)] for place in places):
        return f"its buffers are at {places}, not 0 to {arguments - 1} of set 0"
    if len(set(places)) != len(places):
        return f"two of its buffers are at one of {places}"
    specialized = {d[_SPEC_ID] for d in decorations.values() if _SPEC_ID in d}
    if not specialized >= set(SPECIALIZED):
        return "its local size is fixed"
    return ""
