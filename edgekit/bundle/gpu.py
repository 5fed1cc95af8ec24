"""The GPU section of a bundle as plain values: the rows of `model.fbs`, table Gpu, in its order.

A text is two numbers, its start and its bytes in `Gpu.text` (shaders: in `Gpu.spirv`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

#: Every place in the device's arena and in its constants is a multiple of this.
PLACE_ALIGN = 128
#: Elements of a block of channels.
BLOCK = 4


class GpuFunction(NamedTuple):
    """A function of OpenCL C; what it takes of a device's resources, by the compiler's estimate."""

    name: int
    name_bytes: int
    source: int
    source_bytes: int
    spirv: int
    spirv_bytes: int
    local_bytes: int
    registers: int


class GpuArgument(NamedTuple):
    """`nbytes` at `offset` of the device's arena (space 0) or of the constants (space 1)."""

    space: int
    offset: int
    nbytes: int
    written: int


class GpuLaunch(NamedTuple):
    """One run of a function: a range of arguments, a range of local sizes, and its items."""

    function: int
    first_argument: int
    argument_count: int
    first_size: int
    size_count: int
    x: int
    y: int
    z: int


class GpuSize(NamedTuple):
    """Items of a group."""

    x: int
    y: int
    z: int


class GpuVariant(NamedTuple):
    """One way of computing a call: a range of launches."""

    name: int
    name_bytes: int
    needs: int
    first_launch: int
    launch_count: int


class GpuTensor(NamedTuple):
    """A tensor in blocks of four channels in the device's arena, and its place in the CPU's."""

    pixels: int
    channels: int
    element_bytes: int
    offset: int
    nbytes: int
    cpu_offset: int
    half: int

    @property
    def cpu_nbytes(self) -> int:
        """Bytes of the same tensor on the CPU."""
        return self.pixels * self.channels * self.element_bytes * (2 if self.half == 1 else 1)


class GpuLayer(NamedTuple):
    """A call of the Program: a range of variants and of operands, inputs first."""

    first_variant: int
    variant_count: int
    first_operand: int
    input_count: int
    output_count: int
    why_not: int
    why_not_bytes: int


@dataclass(frozen=True)
class Gpu:
    """The section. `prelude` is a range of `text`."""

    text: bytes
    functions: tuple[GpuFunction, ...]
    arguments: tuple[GpuArgument, ...]
    launches: tuple[GpuLaunch, ...]
    sizes: tuple[GpuSize, ...]
    variants: tuple[GpuVariant, ...]
    tensors: tuple[GpuTensor, ...]
    operands: tuple[int, ...]
    layers: tuple[GpuLayer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: bytes
    arena_bytes: int
    spirv: bytes = b""
    prelude: tuple[int, int] = (0, 0)

    def string(self, start: int, nbytes: int) -> str:
        """A text by its two numbers."""
        return self.text[start : start + nbytes].decode()

    def digest(self) -> bytes:
        """SHA-256 over everything in it."""
        digest = hashlib.sha256()
        for name in (f.name for f in fields(self)):
            value = getattr(self, name)
            data = value if isinstance(value, bytes) else repr(_plain(value)).encode()
            digest.update(len(data).to_bytes(8, "little") + data)
        return digest.digest()


def _plain(value: object) -> object:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


#: Classes of the rows of vectors, by the name of the field.
ROWS: dict[str, Any] = {
    "functions": GpuFunction,
    "arguments": GpuArgument,
    "launches": GpuLaunch,
    "sizes": GpuSize,
    "variants": GpuVariant,
    "tensors": GpuTensor,
    "layers": GpuLayer,
}
NUMBERS = ("operands", "inputs", "outputs")
#: Fields of the table, by their ids.
FIELDS = (
    *("text", "functions", "arguments", "launches", "sizes", "variants", "tensors", "operands"),
    *("layers", "inputs", "outputs", "constants", "spirv", "prelude", "arena_bytes"),
)
