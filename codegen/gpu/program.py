"""What runs on a device: variants of each call with their places in its memory.

`codegen.gpu.lower` makes it beside a `codegen.program.Program`; `edgekit.assemble` puts it into a
bundle, whose tables (edgekit/bundle/model.fbs, table Gpu) have the same fields.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from codegen.gpu.kernel import Function, Size

#: Spaces of arguments.
ARENA, CONSTANTS = 0, 1
#: Every place in the arena and in the constants is a multiple of this.
ALIGN = 128


@dataclass(frozen=True)
class PlacedArgument:
    """`nbytes` at `offset` of the device's arena or of the constants."""

    space: int
    offset: int
    nbytes: int
    written: bool = False


@dataclass(frozen=True)
class PlacedLaunch:
    """One run of a function; `sizes` are local sizes that may be taken, the compiler's first."""

    function: Function
    arguments: tuple[PlacedArgument, ...]
    global_size: Size
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class PlacedVariant:
    """One way of computing a call; `needs` are names of `codegen.gpu.kernel.FEATURES`."""

    name: str
    launches: tuple[PlacedLaunch, ...]
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class DeviceTensor:
    """A tensor in blocks of four channels (`codegen.gpu.layout`) at `offset` of the device's arena,
    and where the CPU's program has it, pixels x channels.

    `element_bytes` are those on the device. `half` is 1 for float16 there and float32 on the CPU, 2
    for float32 on both, which a device may compute a little differently; 0 for integers.
    """

    pixels: int
    channels: int
    element_bytes: int
    offset: int
    nbytes: int
    cpu_offset: int
    half: int = 0


@dataclass(frozen=True)
class DeviceLayer:
    """A call of the CPU's program: its variants, best guess first, and its operands in the arena as
    indices of `GpuProgram.tensors`. `why_not` is the reason where there is no variant."""

    variants: tuple[PlacedVariant, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    why_not: str = ""
    #: Variants that are beyond the limits of a class of GPUs (`codegen.gpu.resources`), and why.
    refused: tuple[str, ...] = ()


@dataclass(frozen=True)
class GpuProgram:
    """`layers` has one entry for each call of the CPU's program, in order; `inputs` and `outputs`
    of the model are indices of `tensors`. `spirv` are shaders by the name of their function."""

    tensors: tuple[DeviceTensor, ...]
    layers: tuple[DeviceLayer, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    constants: bytes
    arena_bytes: int
    prelude: str = ""
    spirv: dict[str, bytes] = field(default_factory=dict, hash=False)

    @property
    def functions(self) -> tuple[Function, ...]:
        """Each function once, in order of first use."""
        found = {
            launch.function.name: launch.function
            for layer in self.layers
            for variant in layer.variants
            for launch in variant.launches
        }
        return tuple(found.values())
