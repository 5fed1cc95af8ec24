"""A second opinion on the memory plan: replays a Program and accounts for every byte.

It knows nothing of lifetimes or of the planner. Each arena byte remembers which value wrote it;
a call may only read bytes that still hold the value it asks for, and whatever it writes (output and
scratch) must not touch what it reads, except an output that shares bytes with the first input as
the call says that its kernel can bear.
"""

from __future__ import annotations

import numpy as np

from codegen.program import Argument, Call, Program


class PlanError(Exception):
    """The memory plan is wrong: a bug of ours, found before any code runs on it."""


def check(program: Program) -> None:
    """Raise PlanError where a value would be read after its bytes were overwritten."""
    names: dict[str, int] = {}

    def owner(value: str) -> int:
        while value in program.shares:
            value = program.shares[value]
        return names.setdefault(value, len(names) + 1)

    arena = np.zeros(program.arena_bytes, np.int32)

    def span(offset: int, nbytes: int, what: str) -> slice:
        if offset < 0 or nbytes < 0 or offset + nbytes > program.arena_bytes:
            raise PlanError(
                f"{what}: bytes {offset}..{offset + nbytes} leave the arena of "
                f"{program.arena_bytes}"
            )
        return slice(offset, offset + nbytes)

    for tensor in program.inputs:
        at = span(tensor.offset, tensor.nbytes, f"input '{tensor.name}'")
        if arena[at].any():
            raise PlanError(f"input '{tensor.name}' overlaps another input")
        arena[at] = owner(tensor.name)
    for state in program.states:
        tensor = state.tensor
        at = span(tensor.offset, tensor.nbytes, f"state '{tensor.name}'")
        if arena[at].any():
            raise PlanError(f"state '{tensor.name}' overlaps another one or an input")
        arena[at] = owner(tensor.name)
    for call in program.calls:
        reads = [a for a in call.arguments if a.role == "input"]
        for a in reads:
            at = span(a.offset, a.nbytes, f"'{call.layer}' reads '{a.value}'")
            if (arena[at] != owner(a.value)).any():
                raise PlanError(f"'{call.layer}' reads '{a.value}' after it was overwritten")
        written: list[slice] = []
        for a in call.arguments:
            if a.role not in ("output", "scratch"):
                continue
            at = span(a.offset, a.nbytes, f"'{call.layer}' writes its {a.role}")
            for r in reads:
                apart = a.offset + a.nbytes <= r.offset or r.offset + r.nbytes <= a.offset
                allowed = a.role == "output" and r is reads[0] and _bears(call, a, r)
                if not apart and not allowed:
                    raise PlanError(f"'{call.layer}' writes its {a.role} over '{r.value}'")
            if any(at.start < w.stop and w.start < at.stop for w in written):
                raise PlanError(f"'{call.layer}' has output and scratch in the same bytes")
            written.append(at)
            arena[at] = owner(a.value) if a.role == "output" else -1
    for tensor in program.outputs:
        at = span(tensor.offset, tensor.nbytes, f"output '{tensor.name}'")
        if (arena[at] != owner(tensor.name)).any():
            raise PlanError(f"output '{tensor.name}' was overwritten before the end")
    for state in program.states:
        at = span(state.tensor.offset, state.tensor.nbytes, f"state '{state.tensor.name}'")
        if (arena[at] != owner(state.next)).any():
            raise PlanError(f"state '{state.tensor.name}' does not hold its next content")


def _in_row_order(call: Call, output: Argument, source: Argument) -> bool:
    """Whether a kernel of windows that goes by tiles of pixels in the order of rows, as the spec's
    parameter "tile" says, reads every input byte before it overwrites it. True for other kernels.

    Found from the layer's shape alone: for every input pixel the last output pixel that reads it,
    for every input byte the output pixel that lands on it, which must be of that tile or later.
    """
    p = call.kernel.spec.params
    if "kernel" not in p or "tile" not in p:
        return True
    last = np.full((p["H"], p["W"]), -1)
    pixels = np.arange(p["OH"] * p["OW"]).reshape(p["OH"], p["OW"])
    for kh in range(p["kernel"][0]):
        rows = np.arange(p["OH"]) * p["strides"][0] + kh * p["dilations"][0] - p["pads"][0]
        for kw in range(p["kernel"][1]):
            columns = np.arange(p["OW"]) * p["strides"][1] + kw * p["dilations"][1] - p["pads"][1]
            inside = np.ix_((rows >= 0) & (rows < p["H"]), (columns >= 0) & (columns < p["W"]))
            where = np.ix_(rows[inside[0].ravel()], columns[inside[1].ravel()])
            last[where] = np.maximum(last[where], pixels[inside])
    needed = np.repeat(last.ravel(), source.nbytes // last.size)
    at = np.arange(source.nbytes) + source.offset - output.offset
    landing = at // (output.nbytes // pixels.size)
    hit = (at >= 0) & (at < output.nbytes)
    return bool((landing[hit] // p["tile"] >= needed[hit] // p["tile"]).all())


def _bears(call: Call, output: Argument, source: Argument) -> bool:
    """Whether the call's kernel is right with its output at this distance from its first input."""
    if call.in_place and output.offset == source.offset:
        return True
    if call.overlap is None or output.offset + call.overlap > source.offset:
        return False
    return _in_row_order(call, output, source)
