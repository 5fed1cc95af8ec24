"""The variants of what is a convolution of blocks of channels: conv2d and fully_connected."""

from __future__ import annotations

from typing import Any

import numpy as np

from codegen.channels import Channels
from codegen.gpu.emit import launch
from codegen.gpu.kernel import Launch, Place, Variant
from codegen.gpu.layers import _direct, _im2col, _local, _requant, _shapes, _split
from codegen.kernel import NotApplicable

ARGUMENTS = (
    Place("input"),
    Place("constant", name="w"),
    Place("constant", name="rq"),
    Place("output"),
)
COLUMNS = Place("scratch", name="columns")
#: Products of four input channels with sixteen weights, by the name that variants get.
KINDS = (("dot", "dot"), ("mad", ""))


def variants(p: dict[str, Any], channels: Channels, weights: np.ndarray) -> list[Variant]:
    """Best guess first; `p` has shapes and attributes, `weights` are [O, KH, KW, C / groups]."""
    p, weights = _shapes.in_blocks(p | _requant.params(channels), weights)
    p |= {"pixels": min(_direct.PIXELS, p["OW"])}
    table = _requant.table(channels)
    found = []
    for name, offered in OFFERS.items():
        for product, suffix in KINDS:
            try:
                launches, scratch = offered(p | {"product": product})
            except NotApplicable:
                continue
            constants = {"w": _shapes.pack(weights, dot=product == "dot"), "rq": table}
            full = "_".join(filter(None, [name, suffix]))
            needs = frozenset({"dot"} if suffix else ())
            found.append(Variant(full, launches, constants, scratch, needs))
    return found


Offer = tuple[tuple[Launch, ...], dict[str, int]]


def _in_registers(p: dict[str, Any]) -> Offer:
    return (launch(f"conv_{p['product']}", _direct.schedule, p, ARGUMENTS),), {}


def _in_few_registers(p: dict[str, Any]) -> Offer:
    """Half the pixels, for devices on which the others do not fit into registers."""
    if p["pixels"] <= _direct.FEWER_PIXELS:
        raise NotApplicable(f"rows of {p['pixels']}")
    return _in_registers(p | {"pixels": _direct.FEWER_PIXELS})


def _as_columns(p: dict[str, Any]) -> Offer:
    if p["kernel"] == [1, 1] and p["strides"] == [1, 1]:
        raise NotApplicable("one pixel is a column already")
    if p["groups"] > 1:
        raise NotApplicable(f"{p['groups']} groups")
    pixels, count = p["OH"] * p["OW"], _im2col.blocks(p)
    row = p | _shapes.row(pixels, p["C"]) | {"XB": count, "CB": count}
    row |= {"pixels": min(_direct.PIXELS, pixels)}
    shape = {k: p[k] for k in _shapes.SHAPE}
    copy = launch("im2col", _im2col.schedule, shape, (Place("input"), COLUMNS))
    product = launch(f"conv_{p['product']}", _direct.schedule, row, (COLUMNS, *ARGUMENTS[1:]))
    return (copy, product), {COLUMNS.name: _im2col.scratch_bytes(p)}


def _in_tiles(p: dict[str, Any]) -> Offer:
    p = p | _local.tile(p)
    return (launch(f"conv_local_{p['product']}", _local.schedule, p, ARGUMENTS),), {}


def _in_shares(p: dict[str, Any]) -> Offer:
    p = p | _split.tile(p)
    return (launch(f"conv_split_{p['product']}", _split.schedule, p, ARGUMENTS),), {}


OFFERS = {
    "split": _in_shares,
    "direct": _in_registers,
    "narrow": _in_few_registers,
    "im2col": _as_columns,
    "local": _in_tiles,
}
