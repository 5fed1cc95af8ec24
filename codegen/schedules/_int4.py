"""Four-bit weights: two to a byte in flash, taken apart inside the kernel."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.kernel import Layer

#: Weights of this many bits are packed; 8 is plain int8.
BITS = 4


def weight_bits(layer: Layer) -> int:
    return int(layer.node.attrs.get("weight_bits", 8))


def pack_nibbles(lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Bytes with `lower` in bits 0 to 3 and `upper` in bits 4 to 7; both int8 in -8..7."""
    packed: np.ndarray = (lower.view(np.uint8) & 15 | upper.view(np.uint8) << 4).view(np.int8)
    return packed


def pack_in_order(weights: np.ndarray, bits: int) -> np.ndarray:
    """Weights in their own order: as they are, or flat bytes of two, the first one below."""
    if bits != BITS:
        return np.ascontiguousarray(weights)
    flat = np.zeros(-(-weights.size // 2) * 2, np.int8)
    flat[: weights.size] = weights.reshape(-1)
    return pack_nibbles(flat[0::2].copy(), flat[1::2].copy())


def placeholder(shape: tuple[int, ...], bits: int) -> tuple[Any, Any]:
    """A TE placeholder "w" for weights packed in order, and how to read one as int32.

    The second is a function of the same indices that the unpacked tensor has.
    """
    from tvm import te

    from codegen.tvm_api import call

    if bits != BITS:
        w = te.placeholder(shape, "int8", name="w")
        return w, lambda *index: w[index].astype("int32")
    count = int(np.prod(shape))
    packed = te.placeholder((-(-count // 2),), "int8", name="w")

    def read(*index: Any) -> Any:
        flat = index[0]
        for position, extent in zip(index[1:], shape[1:], strict=True):
            flat = flat * extent + position
        return call("int32", "ek_int4", packed[flat // 2].astype("int32"), flat % 2)

    return packed, read
