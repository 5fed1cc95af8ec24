"""Sparse weights: a bitmask and the values that are not zero in flash, decoded into scratch.

A kernel with such weights works block by block of output channels: `ek_sparse_decode` writes the
block's weights to scratch as the dense kernel reads them, and the dense loops follow. Each weight
is decoded once per inference; activations are packed once per block.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from codegen.kernel import Candidate, Layer, Operand
from codegen.schedules._int4 import weight_bits

MODES = ("auto", "smallest", "off")
#: "auto" takes the bitmask where it is at most this share of the dense bytes. Decoding costs
#: instructions, and networks that nobody pruned have zeros too.
WORTH = 0.75
#: Kernels of another form cost code, so that this many bytes have to be saved.
LEAST_SAVED = 128
#: Scratch for one block of decoded weights, where the channels divide so, and the fewest channels
#: of one. Kernels that pack tiles of pixels do so anew for each block, which small ones make dear.
BLOCK_BYTES, LEAST_ROWS = 2048, 2
TILED_BLOCK_BYTES, TILED_LEAST_ROWS = 16384, 8
MOST_BYTES = 32768
#: Smaller ones would be locals of the kernel, which are not aligned to words.
LEAST_BLOCK = 128
#: Kernels that differ in the bytes of their weights alone become one where this wastes less.
SHARED_WASTE = 256


def block_rows(rows: int, row_bytes: int, tiled: bool) -> int:
    """Rows (output channels, or fours of them) of one block; 0 where no number of them suits.

    `tiled` kernels pack tiles of pixels once per block.
    """
    limit, least = (TILED_BLOCK_BYTES, TILED_LEAST_ROWS) if tiled else (BLOCK_BYTES, LEAST_ROWS)
    suiting = [d for d in range(2, rows + 1) if rows % d == 0 and d * row_bytes >= LEAST_BLOCK]
    best = max((d for d in suiting if d * row_bytes <= limit), default=0)
    if best < min(least, rows):
        best = min((d for d in suiting if d >= least and d * row_bytes <= MOST_BYTES), default=0)
    return best


def encode(dense: np.ndarray, rows: int) -> np.ndarray:
    """int8 bytes of weights [R, K] in blocks of `rows` rows (SPEC "Sparse weights").

    uint32 starts [blocks], uint32 masks [blocks, ceil(rows * K / 32)], then the values of all
    blocks; a start counts bytes from the beginning. Bit i of a mask word is weight 32 * word + i.
    """
    blocks = np.ascontiguousarray(dense).reshape(len(dense) // rows, -1)
    bits = np.pad(blocks != 0, ((0, 0), (0, -blocks.shape[1] % 32)))
    masks = np.packbits(bits, axis=1, bitorder="little")
    values = [block[block != 0] for block in blocks]
    head = 4 * len(blocks) + masks.size
    starts = head + np.cumsum([0, *(v.size for v in values[:-1])])
    parts = [starts.astype("<u4").tobytes(), masks.tobytes(), *(v.tobytes() for v in values)]
    return np.frombuffer(b"".join(parts), np.int8)


def choose(
    layer: Layer, dense: np.ndarray, bits: int, tiled: bool = False
) -> tuple[np.ndarray, dict[str, Any], str]:
    """The bytes of packed weights [R, K] that go into the bundle; `tiled` as for `block_rows`.

    Returns:
        (the array, what it adds to the kernel's params, a note for the report); dense weights as
        they are and two empty ones unless the bitmask is worth it under `layer.sparse_weights`.
    """
    nothing: tuple[np.ndarray, dict[str, Any], str] = (dense, {}, "")
    if layer.sparse_weights == "off" or bits != 8:
        return nothing
    share = WORTH if layer.sparse_weights == "auto" else 1.0
    rows = block_rows(len(dense), dense[0].size, tiled)
    flat = dense.reshape(len(dense), -1)
    if not rows or np.count_nonzero(flat) + flat.size / 8 > share * flat.size:
        return nothing
    packed = encode(flat, rows)
    if packed.size > share * flat.size or packed.size + LEAST_SAVED > flat.size:
        return nothing
    note = f"bitmask weights: {packed.size} of {flat.size} B"
    return packed, {"sparse": {"rows": rows, "of": len(dense), "bytes": int(packed.size)}}, note


def smallest(layer: Layer, select: Callable[[Layer], Candidate]) -> Candidate:
    """What `select` gives; for four-bit weights with many zeros the bitmask where it is smaller.

    Four-bit weights are int8 as well, and a bitmask of those can be smaller than two to a byte.
    """
    found = select(layer)
    if layer.sparse_weights == "off" or weight_bits(layer) == 8:
        return found
    attrs = {k: v for k, v in layer.node.attrs.items() if k != "weight_bits"}
    other = select(replace(layer, node=replace(layer.node, attrs=attrs)))
    saved = found.constants["w"].nbytes - other.constants["w"].nbytes
    return other if saved >= LEAST_SAVED else found


def share_kernels(candidates: Iterable[Candidate | None]) -> dict[int, Candidate]:
    """Candidates that change, by position: sparse weights of nearly one size are padded to the
    largest of them, so that layers of one shape still share a kernel."""
    groups: dict[str, list[tuple[int, int, Candidate]]] = {}
    for i, candidate in enumerate(candidates):
        if candidate is not None and "sparse" in candidate.spec.params:
            nbytes = candidate.spec.params["sparse"]["bytes"]
            key = _padded(candidate, 0).spec.key
            groups.setdefault(key, []).append((nbytes, i, candidate))
    changed: dict[int, Candidate] = {}
    for group in groups.values():
        group.sort(key=lambda entry: entry[:2], reverse=True)
        top = group[0][0]
        for nbytes, i, candidate in group:
            if top - nbytes > SHARED_WASTE:
                top = nbytes
            elif nbytes != top:
                changed[i] = _padded(candidate, top)
    return changed


def _padded(candidate: Candidate, nbytes: int) -> Candidate:
    spec, w = candidate.spec, candidate.constants["w"]
    operands = tuple(Operand("w", "int8", nbytes, "constant") if o.name == "w" else o
                     for o in spec.operands)  # fmt: skip
    params = {**spec.params, "sparse": {**spec.params["sparse"], "bytes": nbytes}}
    longer = np.concatenate([w, np.zeros(max(0, nbytes - w.size), np.int8)])
    return replace(
        candidate,
        spec=replace(spec, operands=operands, params=params),
        constants={**candidate.constants, "w": longer},
    )


# ---- schedules


def placeholder(shape: tuple[int, ...]) -> tuple[Any, Any]:
    """A TE placeholder "w" of rows of weights, and how to read one as int32 by the indices of the
    unflattened `shape`."""
    from tvm import te

    w = te.placeholder((shape[0], int(np.prod(shape[1:]))), "int8", name="w")

    def read(row: Any, *index: Any) -> Any:
        flat = index[0]
        for position, extent in zip(index[1:], shape[2:], strict=True):
            flat = flat * extent + position
        return w[row, flat].astype("int32")

    return w, read


def cache_weights(p: dict[str, Any], sch: Any, block: Any) -> Any:
    """Before anything else: let `block` read weights from a buffer that `decode_at` fills; None
    where the weights are dense."""
    if "sparse" not in p:
        return None
    reads = [region.source.name for region in sch.get(block).reads]
    return sch.cache_read(block, reads.index("w"), "global")


def split_rows(p: dict[str, Any], sch: Any, loop: Any) -> tuple[list[Any], Any]:
    """The loop over rows of weights as ([loop over blocks], loop within one); dense: ([], loop)."""
    if "sparse" not in p:
        return [], loop
    outer, inner = sch.split(loop, [None, p["sparse"]["rows"]])
    return [outer], inner


def single_pass(p: dict[str, Any]) -> bool:
    """Whether the kernel goes over its input once: dense weights, or one block of them."""
    return "sparse" not in p or p["sparse"]["rows"] >= p["sparse"]["of"]


def decode_at(p: dict[str, Any], sch: Any, cache: Any, outer: list[Any]) -> None:
    """Decode one block per iteration of the loop over blocks; nothing where weights are dense."""
    from codegen.sparse_intrinsic import sparse_decode

    if cache is None:
        return
    source = sch.get(cache).reads[0].source
    total, *row = (int(extent) for extent in source.shape)
    sch.compute_at(cache, outer[0], preserve_unit_loops=True)
    rows = p["sparse"]["rows"]
    loop = sch.get_loops(cache)[-1 - len(row)]
    sch.tensorize(loop, sparse_decode((rows, *row), p["sparse"]["bytes"], total // rows))
