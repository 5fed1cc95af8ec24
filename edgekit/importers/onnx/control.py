"""If, Loop and Scan, where they can be undone: the branch is known, the rounds are counted.

A loop becomes its rounds one after the other. What decides (the condition, the number of rounds)
must be a constant, be it by shape arithmetic.
"""

from __future__ import annotations

import numpy as np

from edgekit.importers.common import Refused, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.node import Body, OnnxNode, operand
from edgekit.importers.onnx.shape import axis_of

#: Rounds that a loop may have; each is a copy of its body.
MAX_ROUNDS = 1024


def _truth(b: OnnxBuilder, name: str, what: str) -> bool:
    data = b.const(name)
    if data is None or data.size != 1:
        raise Refused(f"{what} '{name}' must be a constant")
    return bool(data.reshape(-1)[0])


def _import(b: OnnxBuilder, node: OnnxNode, body: Body, names: dict[str, str], prefix: str) -> None:
    """The body's nodes; nodes in it that came to nothing are listed, the rest is left out."""
    before = len(b.found)
    b.import_body(node, body, names, prefix)
    if len(b.found) > before:
        raise Refused("")


def _result(b: OnnxBuilder, name: str, out: str) -> None:
    """Let `out` be another name for `name`, constant or not."""
    if name in b.data:
        b.data[out] = b.data[name]
        if name in b.grids:
            b.grids[out] = b.grids[name]
    elif name in b.unknown:
        b.unknown.add(out)
    else:
        b.alias[out] = b.alias.get(name, name)


@handles("If")
def if_(b: OnnxBuilder, node: OnnxNode) -> None:
    """A condition that is a constant; only its branch is imported."""
    branch = _truth(b, operand(node, 0), "its condition")
    body = node.body("then_branch" if branch else "else_branch")
    if body.inputs or len(body.outputs) != len(node.outputs):
        raise invalid(f"node '{node.name}' (If): the branch has {len(body.outputs)} results")
    names: dict[str, str] = {}
    _import(b, node, body, names, next(o for o in node.outputs if o))
    for inner, out in zip(body.outputs, node.outputs, strict=True):
        if out:
            _result(b, names.get(inner, inner), out)


@handles("Loop")
def loop(b: OnnxBuilder, node: OnnxNode) -> None:
    """A constant number of rounds, at most 1024, with a condition that is a constant each time."""
    body = node.body("body")
    rounds = MAX_ROUNDS + 1
    if operand(node, 0):
        rounds = int(b.const_of(node, 0, "number of rounds").reshape(-1)[0])
    on = _truth(b, operand(node, 1), "its condition") if operand(node, 1) else True
    carried = node.inputs[2:]
    count = len(carried)
    collected: list[list[str]] = [[] for _ in body.outputs[1 + count :]]
    if len(body.inputs) != 2 + count or len(node.outputs) > count + len(collected):
        raise invalid(f"node '{node.name}' (Loop) does not fit its body")
    stem = next(o for o in node.outputs if o)
    done = 0
    while on and done < rounds:
        if done == MAX_ROUNDS:
            raise Refused(f"it has more than {MAX_ROUNDS} rounds")
        at, go = f"{stem}.{done}:round", f"{stem}.{done}:go"
        b.data[at], b.data[go] = np.asarray(done, np.int64), np.asarray(True)
        names = dict(zip(body.inputs, [at, go, *carried], strict=True))
        _import(b, node, body, names, f"{stem}.{done}")
        results = [names.get(o, o) for o in body.outputs]
        on = _truth(b, results[0], "its condition")
        carried = results[1 : 1 + count]
        for piece, name in zip(collected, results[1 + count :], strict=True):
            piece.append(name)
        done += 1
    for name, out in zip(carried, node.outputs, strict=False):
        if out:
            _result(b, name, out)
    for pieces, out in zip(collected, node.outputs[count:], strict=False):
        if out:
            _stacked(b, node, pieces, 0, out)


def _stacked(b: OnnxBuilder, node: OnnxNode, pieces: list[str], axis: int, out: str) -> None:
    """The results of all rounds along a new axis."""
    if not pieces:
        b.data[out] = np.zeros(0, np.float32)
        return
    b.data[f"{out}:axis"] = np.asarray([axis], np.int64)
    modern = OnnxNode(node.op, "", node.name, [], node.outputs, {}, max(node.opset, 13))
    rows = [
        b.run(modern, "Unsqueeze", [name, f"{out}:axis"], f"{out}:row{i}")
        for i, name in enumerate(pieces)
    ]
    b.run(node, "Concat", rows, out, {"axis": axis})


@handles("Scan")
def scan(b: OnnxBuilder, node: OnnxNode) -> None:
    """At most 1024 rounds, from opset 9."""
    if node.opset < 9:
        raise Refused("Scan before opset 9 is not supported")
    body = node.body("body")
    sequences = node.integer("num_scan_inputs", 0)
    count = len(node.inputs) - sequences
    if sequences < 1 or count < 0 or len(body.inputs) != len(node.inputs):
        raise invalid(f"node '{node.name}' (Scan) does not fit its body")
    state, scanned = node.inputs[:count], node.inputs[count:]
    axes = node.integers("scan_input_axes") or [0] * sequences
    back = node.integers("scan_input_directions") or [0] * sequences
    shapes = [b.shape_of(name) for name in scanned]
    at = [axis_of(node, a, len(s)) for a, s in zip(axes, shapes, strict=True)]
    lengths = {s[a] for s, a in zip(shapes, at, strict=True)}
    if len(lengths) != 1:
        raise invalid(f"node '{node.name}' (Scan): sequences of {sorted(lengths)} elements")
    rounds = lengths.pop()
    if rounds > MAX_ROUNDS:
        raise Refused(f"it has {rounds} rounds, at most {MAX_ROUNDS} are supported")
    collected: list[list[str]] = [[] for _ in body.outputs[count:]]
    stem = next(o for o in node.outputs if o)
    for done in range(rounds):
        rows = []
        for k, name in enumerate(scanned):
            place = f"{stem}.{done}:at{k}"
            b.data[place] = np.asarray(rounds - 1 - done if back[k] else done, np.int64)
            row = f"{stem}.{done}:in{k}"
            rows.append(b.run(node, "Gather", [name, place], row, {"axis": at[k]}))
        names = dict(zip(body.inputs, [*state, *rows], strict=True))
        _import(b, node, body, names, f"{stem}.{done}")
        results = [names.get(o, o) for o in body.outputs]
        state = results[:count]
        for pieces, name in zip(collected, results[count:], strict=True):
            pieces.append(name)
    for name, out in zip(state, node.outputs, strict=False):
        if out:
            _result(b, name, out)
    out_axes = node.integers("scan_output_axes") or [0] * len(collected)
    out_back = node.integers("scan_output_directions") or [0] * len(collected)
    for k, (pieces, out) in enumerate(zip(collected, node.outputs[count:], strict=False)):
        if out:
            rank = len(b.shape_of(pieces[0])) + 1
            order = pieces[::-1] if out_back[k] else pieces
            _stacked(b, node, order, axis_of(node, out_axes[k], rank), out)
