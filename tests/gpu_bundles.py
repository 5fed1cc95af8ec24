"""GPU sections for tests: random ones that `read_bundle` accepts, beside the tiny bundle."""

from __future__ import annotations

from dataclasses import replace

from bundles import TINY
from hypothesis import strategies as st

from edgekit.bundle import Bundle
from edgekit.bundle.gpu import (
    Gpu,
    GpuArgument,
    GpuFunction,
    GpuLaunch,
    GpuLayer,
    GpuSize,
    GpuTensor,
    GpuVariant,
)

#: One layer on the device, the other left to the CPU.
SMALL = Gpu(
    text=b"prelude;blendkernel void blend() {}no kernel",
    functions=(GpuFunction(8, 5, 13, 22, 0, 4, 64, 20),),
    arguments=(GpuArgument(0, 0, 16, 0), GpuArgument(1, 128, 16, 0), GpuArgument(0, 128, 16, 1)),
    launches=(GpuLaunch(0, 0, 3, 0, 2, 16, 2, 1),),
    sizes=(GpuSize(4, 2, 1), GpuSize(16, 1, 1)),
    variants=(GpuVariant(8, 5, 0, 0, 1),),
    tensors=(GpuTensor(1, 16, 1, 0, 16, 0, 0), GpuTensor(1, 16, 1, 128, 16, 16, 0)),
    operands=(0, 1, 1, 0),
    layers=(GpuLayer(0, 1, 0, 1, 1, 0, 0), GpuLayer(1, 0, 2, 1, 1, 35, 9)),
    inputs=(0,),
    outputs=(0,),
    constants=bytes(range(144)),
    arena_bytes=256,
    spirv=b"\3\2\x23\7",
    prelude=(0, 8),
)
WITH_GPU = replace(TINY, gpu=SMALL)


@st.composite
def gpu_bundles(draw: st.DrawFn) -> Bundle:
    """The tiny bundle with any section that fits it."""
    text = draw(st.text(st.characters(codec="ascii"), min_size=1, max_size=200)).encode()
    spirv = draw(st.binary(max_size=40))
    constants = draw(st.binary(max_size=400))
    arena = draw(st.integers(160, 2**32 - 1))

    def number(most: int, least: int = 0) -> int:
        return draw(st.integers(least, max(least, most)))

    def span(size: int, most: int = 96, least: int = 0) -> tuple[int, int]:
        nbytes = number(min(most, size), least)
        return number(size - nbytes), nbytes

    def some(make: object, least: int = 0) -> tuple[object, ...]:
        assert callable(make)
        return tuple(make() for _ in range(number(4, least)))

    def argument() -> GpuArgument:
        space = number(1) if constants else 0
        size = len(constants) if space else arena
        offset = 128 * number((size - 1) // 128)
        return GpuArgument(space, offset, number(size - offset, 1), number(1 - space))

    functions = some(
        lambda: GpuFunction(
            *span(len(text), least=1),
            *span(len(text), 10**6),
            *span(len(spirv)),
            number(2**16),
            number(99),
        ),
        1,
    )
    arguments = some(argument)
    sizes = some(lambda: GpuSize(number(8, 1), number(8, 1), number(8, 1)), 1)

    def launch() -> GpuLaunch:
        first = number(len(sizes) - 1)
        x, y, z = sizes[first]  # type: ignore[misc]
        count = number(len(arguments))
        return GpuLaunch(number(len(functions) - 1), number(len(arguments) - count), count, first,
                         1, x * number(99, 1), y * number(99, 1), z * number(9, 1))  # fmt: skip

    launches = some(launch, 1)

    def variant() -> GpuVariant:
        count = number(len(launches), 1)
        return GpuVariant(
            *span(len(text), least=1), number(3), number(len(launches) - count), count
        )

    variants = some(variant)
    tensors = SMALL.tensors + some(
        lambda: GpuTensor(p := number(4, 1), c := number(3, 1), 2, 128 * number(arena // 128 - 1),
                          -(-c // 4) * 4 * p * 2, 0, number(1)),
    )  # fmt: skip
    operands = tuple(number(len(tensors) - 1) for _ in range(number(5)))

    def layer() -> GpuLayer:
        count, inputs = number(len(variants)), number(len(operands))
        outputs = number(len(operands) - inputs)
        return GpuLayer(number(len(variants) - count), count,
                        number(len(operands) - inputs - outputs), inputs, outputs,
                        *span(len(text)))  # fmt: skip

    gpu = Gpu(
        text, functions, arguments, launches, sizes, variants, tensors, operands,
        (layer(), layer()), (0,), (0,), constants, arena, spirv, span(len(text), 10**6),
    )  # type: ignore[arg-type]  # fmt: skip
    return replace(TINY, gpu=gpu)


# ---- what is wrong


def _row(name: str, index: int, **changed: int) -> Gpu:
    rows = list(getattr(SMALL, name))
    rows[index] = rows[index]._replace(**changed)
    return replace(SMALL, **{name: tuple(rows)})


TOP = 2**32 - 1


#: Sections and what is said of them.
WRONG = [
    (_row("functions", 0, name_bytes=0), "a name of the GPU is empty"),
    (_row("functions", 0, name_bytes=TOP), "a text of the GPU is not there"),
    (_row("functions", 0, source=TOP), "a text of the GPU is not there"),
    (_row("functions", 0, spirv_bytes=5), "a shader of the GPU is not there"),
    (_row("arguments", 0, offset=TOP), "argument 0 of the GPU lies at"),
    (_row("arguments", 0, offset=64), "argument 0 of the GPU lies at 64"),
    (_row("arguments", 2, nbytes=129), r"argument 2 of the GPU lies at 128 \+ 129 of 256"),
    (_row("arguments", 0, nbytes=0), "argument 0 of the GPU lies at"),
    (_row("arguments", 1, space=2), "argument 1 of the GPU has space 2"),
    (_row("arguments", 1, written=1), "argument 1 of the GPU writes to constants"),
    (_row("launches", 0, function=1), "launch 0 names function 1 of 1"),
    (_row("launches", 0, first_argument=1), "launch 0 has arguments that are not there"),
    (_row("launches", 0, argument_count=TOP), "launch 0 has arguments that are not there"),
    (_row("launches", 0, size_count=0), "launch 0 has local sizes that are not there"),
    (_row("launches", 0, first_size=TOP), "launch 0 has local sizes that are not there"),
    (_row("launches", 0, x=18), "which groups of"),
    (_row("launches", 0, y=0), "which groups of"),
    (_row("sizes", 1, z=0), "which groups of"),
    (_row("variants", 0, launch_count=2), "variant 0 of the GPU has launches"),
    (_row("variants", 0, launch_count=0), "variant 0 of the GPU has launches"),
    (_row("tensors", 0, channels=17), "cannot have 16 bytes"),
    (_row("tensors", 0, pixels=0), "cannot have 16 bytes"),
    (_row("tensors", 0, element_bytes=3), "elements of 3 bytes"),
    (_row("tensors", 0, half=1), "elements of 1 bytes, half 1"),
    (_row("tensors", 1, offset=384), r"tensor 1 of the GPU lies at 384 \+ 16 of 256"),
    (_row("tensors", 1, cpu_offset=TOP), "behind the CPU's arena of 56"),
    (_row("tensors", 0, cpu_offset=8), "the inputs of the GPU are not those of the model"),
    (_row("layers", 0, variant_count=2), "layer 0 of the GPU has variants"),
    (_row("layers", 1, input_count=TOP), "layer 1 of the GPU has operands"),
    (_row("layers", 1, why_not=TOP), "a text of the GPU is not there"),
    (replace(SMALL, layers=SMALL.layers[:1]), "1 layers of the GPU for 2 calls"),
    (replace(SMALL, operands=(0, 1, 2, 0)), "the GPU's operands name tensors"),
    (replace(SMALL, inputs=(2,)), "the GPU's inputs name tensors"),
    (replace(SMALL, outputs=()), "the outputs of the GPU are not those of the model"),
    (replace(SMALL, prelude=(0, TOP)), "a text of the GPU is not there"),
    (replace(SMALL, arena_bytes=0), "lies at"),
    (replace(SMALL, operands=(0,) * 16385), "16385 of the GPU's operands"),
]
