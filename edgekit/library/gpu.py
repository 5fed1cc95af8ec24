"""What a program that was compiled for GPUs brings to a library: its bundle, room at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgekit.bundle import Bundle
from edgekit.bundle.gpu import Gpu
from edgekit.output import BUNDLE, Output

if TYPE_CHECKING:
    from codegen.library.members import GpuPart

#: Room in an instance for what a driver built, as it is kept in a file, for each function: about
#: twice what PoCL's programs take. Larger programs are built again at every start.
PROGRAM_BYTES = 65536
#: Of firmware/gpu: a text file of choices, events of a run, a driver's list of extensions.
_TUNING_BYTES, _EVENTS, _EXTENSIONS_BYTES = 65536, 1024, 16384
#: In a file of results, beside its rows.
_RESULTS_HEAD = 264
#: Of a bundle's constants in its file.
_ALIGN = 16


def gpu_part(folder: Output, bundle: Bundle) -> GpuPart:
    """The part of `folder`, an output folder for GPUs, whose bundle is `bundle`."""
    from codegen.library.members import GpuPart

    data = (folder.path / BUNDLE).read_bytes()
    room = 0
    if bundle.gpu is not None:
        functions = len(bundle.gpu.functions)
        room = runtime_bytes(bundle.gpu) + max(opencl_bytes(bundle.gpu), vulkan_bytes(bundle.gpu))
        room += functions * PROGRAM_BYTES
    return GpuPart(data, _start(data, bundle.constants), room)


def _start(data: bytes, constants: bytes) -> int:
    """Where the constants are in the bundle's file."""
    at = data.index(constants)
    while at % _ALIGN:
        at = data.index(constants, at + 1)
    return at


def runtime_bytes(gpu: Gpu) -> int:
    """What `ek_gpu_bytes` of firmware/gpu says on a CPU of 64 bits."""
    arguments, tensors, layers = len(gpu.arguments), len(gpu.tensors), len(gpu.layers)
    launches, variants = len(gpu.launches), len(gpu.variants)
    packed = [
        [gpu.tensors[t].nbytes for t in gpu.operands[x.first_operand :][: x.input_count]]
        for x in gpu.layers
    ]
    expected = [
        [
            gpu.tensors[t].nbytes
            for t in gpu.operands[x.first_operand + x.input_count :][: x.output_count]
        ]
        for x in gpu.layers
    ]
    found = [t.nbytes for t in gpu.tensors] + [a.nbytes for a in gpu.arguments if a.written]
    inputs = [gpu.tensors[t] for t in gpu.inputs]
    results = _RESULTS_HEAD + 8 * variants + 4 * layers + launches
    return _rows(
        (len(gpu.functions), 56),
        (arguments + tensors, 12),
        (arguments, 4),
        (tensors, 4),
        (variants, 8),
        (layers, 4),
        (layers, 4),
        (launches, 1),
        (launches, 1),
        (layers, 8),
        (sum(t.pixels * t.channels * (4 if t.half else t.element_bytes) for t in inputs), 1),
        (max(map(sum, packed), default=0), 1),
        (max(map(sum, expected), default=0), 1),
        (max(found, default=0), 1),
        (max(results, _TUNING_BYTES), 1),
    )


def opencl_bytes(gpu: Gpu) -> int:
    """What `ek_gpu_opencl_bytes` says there without programs."""
    places, functions = len(gpu.arguments) + len(gpu.tensors), len(gpu.functions)
    return _rows(
        (places, 12), (places, 8), (places, 8), (functions, 8), (functions, 8), (_EVENTS, 8),
        (functions + 1, 8), (functions + 1, 8), (_EXTENSIONS_BYTES, 1),
    )  # fmt: skip


def vulkan_bytes(gpu: Gpu) -> int:
    """What `ek_gpu_vulkan_bytes` says there without a cache."""
    places, functions = len(gpu.arguments) + len(gpu.tensors), len(gpu.functions)
    pipelines = len(gpu.sizes) + functions
    return _rows((places, 12), (places, 8), (functions, 8), (functions, 64), (pipelines, 32))


def _rows(*tables: tuple[int, int]) -> int:
    """Bytes of tables of so many rows of so many bytes, each a multiple of 16."""
    return sum(-(-count * nbytes // 16) * 16 for count, nbytes in tables)
