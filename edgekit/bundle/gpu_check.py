"""What the GPU section of a bundle must keep; firmware/gpu/ek_gpu_section.c asks for the same."""

from __future__ import annotations

from collections.abc import Iterator

from edgekit.bundle.gpu import BLOCK, NUMBERS, PLACE_ALIGN, ROWS, Gpu, GpuTensor

#: Most bytes that the name of a function or variant may have (EK_GPU_NAME).
LONGEST_NAME = 96
#: Most arguments of a launch (EK_GPU_ARGUMENTS); most functions, launches and places in all
#: (EK_GPU_MOST), which bounds the work of those who compare each with each.
MOST_ARGUMENTS, MOST = 16, 16384
#: Most local sizes of a launch.
MOST_SIZES = 255


def gpu_contradictions(gpu: Gpu, calls: int, arena_bytes: int) -> Iterator[str]:
    """What is wrong with a section beside a Program of so many calls and bytes of arena."""
    for name in (*ROWS, *NUMBERS):
        if (count := len(getattr(gpu, name))) > MOST:
            yield f"{count} of the GPU's {name}, at most {MOST} are taken"
            return
    if len(gpu.layers) != calls:
        yield f"{len(gpu.layers)} layers of the GPU for {calls} calls"
    yield from _texts(gpu)
    sizes = (gpu.arena_bytes, len(gpu.constants))
    for i, a in enumerate(gpu.arguments):
        if a.space > 1 or a.written > 1:
            yield f"argument {i} of the GPU has space {a.space}, written {a.written}"
        elif a.offset + a.nbytes > sizes[a.space] or a.offset % PLACE_ALIGN or not a.nbytes:
            yield f"argument {i} of the GPU lies at {a.offset} + {a.nbytes} of {sizes[a.space]}"
        elif a.space == 1 and a.written:
            yield f"argument {i} of the GPU writes to constants"
    for i, t in enumerate(gpu.tensors):
        yield from _tensor(i, t, gpu.arena_bytes, arena_bytes)
    yield from _launches(gpu)
    for i, v in enumerate(gpu.variants):
        if v.first_launch + v.launch_count > len(gpu.launches) or not v.launch_count:
            yield f"variant {i} of the GPU has launches that are not there"
    for i, layer in enumerate(gpu.layers):
        if layer.first_variant + layer.variant_count > len(gpu.variants):
            yield f"layer {i} of the GPU has variants that are not there"
        operands = layer.input_count + layer.output_count
        if layer.first_operand + operands > len(gpu.operands):
            yield f"layer {i} of the GPU has operands that are not there"
    for name in ("operands", "inputs", "outputs"):
        if any(index >= len(gpu.tensors) for index in getattr(gpu, name)):
            yield f"the GPU's {name} name tensors that are not there"


def _texts(gpu: Gpu) -> Iterator[str]:
    names = [(f.name, f.name_bytes) for f in gpu.functions]
    names += [(v.name, v.name_bytes) for v in gpu.variants]
    texts = [(f.source, f.source_bytes) for f in gpu.functions]
    texts += [(layer.why_not, layer.why_not_bytes) for layer in gpu.layers]
    if any(start + n > len(gpu.text) for start, n in [*names, *texts, gpu.prelude]):
        yield "a text of the GPU is not there"
    if any(f.spirv + f.spirv_bytes > len(gpu.spirv) for f in gpu.functions):
        yield "a shader of the GPU is not there"
    if any(not 0 < n <= LONGEST_NAME for _, n in names):
        yield f"a name of the GPU is empty or longer than {LONGEST_NAME} bytes"


def _tensor(index: int, t: GpuTensor, device_bytes: int, arena_bytes: int) -> Iterator[str]:
    items = -(-t.channels // BLOCK) * t.pixels * BLOCK
    if t.half > 2 or t.element_bytes not in ((1, 2, 4), (2,), (4,))[t.half]:
        yield f"tensor {index} of the GPU has elements of {t.element_bytes} bytes, half {t.half}"
    elif not items or items * t.element_bytes != t.nbytes:
        yield f"tensor {index} of the GPU, {t.pixels} x {t.channels}, cannot have {t.nbytes} bytes"
    elif t.offset % PLACE_ALIGN or t.offset + t.nbytes > device_bytes:
        yield f"tensor {index} of the GPU lies at {t.offset} + {t.nbytes} of {device_bytes}"
    elif t.cpu_offset + t.cpu_nbytes > arena_bytes:
        yield f"tensor {index} of the GPU ends behind the CPU's arena of {arena_bytes}"


def _launches(gpu: Gpu) -> Iterator[str]:
    for i, launch in enumerate(gpu.launches):
        if launch.function >= len(gpu.functions):
            yield f"launch {i} names function {launch.function} of {len(gpu.functions)}"
        if launch.first_argument + launch.argument_count > len(gpu.arguments):
            yield f"launch {i} has arguments that are not there"
        if launch.argument_count > MOST_ARGUMENTS:
            yield f"launch {i} has {launch.argument_count} arguments, at most {MOST_ARGUMENTS}"
        if launch.size_count > MOST_SIZES:
            yield f"launch {i} has {launch.size_count} local sizes, at most {MOST_SIZES}"
        items = (launch.x, launch.y, launch.z)
        if launch.first_size + launch.size_count > len(gpu.sizes) or not launch.size_count:
            yield f"launch {i} has local sizes that are not there"
            continue
        for size in gpu.sizes[launch.first_size : launch.first_size + launch.size_count]:
            if any(not s or not n or n % s for n, s in zip(items, size, strict=True)):
                yield f"launch {i} has {items} items, which groups of {tuple(size)} do not divide"
