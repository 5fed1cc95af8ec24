"""What a layer is on a GPU: variants, each a few launches of printed OpenCL C functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from codegen.kernel import Layer

#: What a variant may need of a device beyond OpenCL C 1.2 without doubles, by the bit that says so
#: in a bundle. The runtime compiles every function with ``-D EK_HAS_<NAME>=1`` for what it found.
FEATURES = {
    "dot": 1,  # cl_khr_integer_dot_product or cl_arm_integer_dot_product_accumulate_int8
    "fp16": 2,  # cl_khr_fp16: arithmetic in half; storing half needs nothing
}
Size = tuple[int, int, int]


@dataclass(frozen=True)
class Place:
    """An argument: one of the layer's tensors, its constants or its scratch buffers.

    `kind` is "input" or "output" (`index` counts the layer's), "constant" or "scratch" (`name`).
    """

    kind: str
    index: int = 0
    name: str = ""


@dataclass(frozen=True)
class Function:
    """A kernel of OpenCL C. `text` is the whole ``__kernel`` function, without the prelude.

    `local_bytes` is the local memory that it declares. `registers` is how many 32-bit registers an
    item holds at once, estimated by `codegen.gpu.resources` from what the schedule keeps per item.
    """

    name: str
    text: str
    local_bytes: int = 0
    registers: int = 0


@dataclass(frozen=True)
class Launch:
    """One run of a function: items in all and items of a group, which divide them.

    `others` are local sizes that give the same bytes, for the tuner; () where `local_size` is part
    of the algorithm.
    """

    function: Function
    arguments: tuple[Place, ...]
    global_size: Size
    local_size: Size
    others: tuple[Size, ...] = ()


@dataclass(frozen=True)
class Variant:
    """One way of computing a layer: "direct", "im2col", "local", "dot", ..., best guess first.

    `constants` are arrays in the order that the kernels read them, `scratch` bytes of device
    memory by name, `needs` names of `FEATURES`.
    """

    name: str
    launches: tuple[Launch, ...]
    constants: dict[str, np.ndarray] = field(default_factory=dict, hash=False)
    scratch: dict[str, int] = field(default_factory=dict, hash=False)
    needs: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Maker:
    """What a module of `codegen/gpu/layers/` offers: variants of operators.

    `variants` turns a layer into its variants or raises `codegen.kernel.NotApplicable`, whose
    message becomes the reason why the layer is left to the CPU.
    """

    name: str
    ops: tuple[str, ...]
    variants: Callable[[Layer], list[Variant]]
