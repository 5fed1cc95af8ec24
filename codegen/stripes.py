"""Running a chain of layers stripe by stripe, so that what lies between them is never whole.

`stripe` rewrites an integer graph: the last layer's rows are divided into bands, and for each band
every layer of the chain computes just the rows that the band needs. Rows that two bands need are
computed twice. Inputs of the chain are read through views of their rows (`slice_rows`), the bands
of its result are parts of one buffer (`concat_rows`), and a global average pool at the end takes
its sums band by band. It is an ordinary graph with the same integers, so the reference runs it as
well.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from edgekit.graph import Graph, Node, Value
from edgekit.ops import windows as win

WINDOWS = ("conv2d", "depthwise_conv2d", "max_pool2d", "average_pool2d")
#: Operators whose result's element depends on the operands' elements at its place.
ELEMENTWISE = (
    *("unary", "clip", "add", "sub", "mul", "div", "pow", "mod", "squared_difference", "prelu"),
    *("minimum", "maximum"),
)
Rows = tuple[int, int]


class NotStripable(Exception):
    """The chain cannot run in stripes; the message says why."""


def chain(graph: Graph, first: int, last: int) -> list[Node]:
    """Nodes `first` to `last` of the graph, checked to be one chain that stripes can run.

    Raises:
        NotStripable: an operator without rows, or a value inside that is also read outside.
    """
    nodes = graph.nodes[first : last + 1]
    inside = {n.output for n in nodes}
    for node in nodes[:-1]:
        readers = graph.consumers(node.output)
        if node.output in graph.outputs or any(r not in nodes for r in readers):
            raise NotStripable(f"'{node.output}' is read outside the chain")
    for i, node in enumerate(nodes):
        out = graph.values[node.output]
        ends = i == len(nodes) - 1 and is_global_pool(graph, node)
        if node.op not in (*WINDOWS, *ELEMENTWISE) or (len(out.shape) != 4):
            raise NotStripable(f"'{node.name or node.output}' is {node.op}")
        if node.attrs.get("count_include_pad"):
            raise NotStripable(f"'{node.name or node.output}' counts padding")
        if is_global_pool(graph, node) and not ends:
            raise NotStripable(f"'{node.name or node.output}' pools the whole image")
        if node.op in ELEMENTWISE and any(
            graph.values[i].shape != out.shape for i in node.inputs if not graph.is_constant(i)
        ):
            raise NotStripable(f"'{node.name or node.output}' broadcasts")
        if node.op in ELEMENTWISE and any(
            len(shape) == 4 and shape[1] != 1
            for shape in (graph.values[i].shape for i in node.inputs if graph.is_constant(i))
        ):
            raise NotStripable(f"'{node.name or node.output}' has a constant for every row")
        if i and not inside.intersection(node.inputs):
            raise NotStripable(f"'{node.name or node.output}' does not read the chain")
    return nodes


def is_global_pool(graph: Graph, node: Node) -> bool:
    """Whether `node` averages whole images."""
    if node.op != "average_pool2d":
        return False
    shape = graph.values[node.inputs[0]].shape
    return list(node.attrs["kernel"]) == list(shape[1:3]) and not any(win.pads_of(node))


def stripe(graph: Graph, first: int, last: int, bands: int) -> Graph:
    """The graph with nodes `first` to `last` run in `bands` stripes.

    Raises:
        NotStripable: see `chain`; or there are fewer rows than bands.
    """
    nodes = chain(graph, first, last)
    pool = nodes[-1] if is_global_pool(graph, nodes[-1]) else None
    body = nodes[:-1] if pool else nodes
    if not body:
        raise NotStripable("nothing but a pool")
    final = graph.values[body[-1].output]
    if final.shape[1] < bands:
        raise NotStripable(f"{final.shape[1]} rows do not make {bands} bands")
    made = graph.copy()
    edges = _edges(final.shape[1], bands)
    before, parts, sums = graph.nodes[:first], [], ""
    new: list[Node] = []
    for band in range(bands):
        part = _band(graph, made, body, (edges[band], edges[band + 1]), band, new)
        parts.append(part)
        if pool:
            sums = _sum(made, pool, part, sums, band, new)
    if pool:
        attrs = {
            **{k: v for k, v in pool.attrs.items() if k == "clamp"},
            "count": final.shape[1] * final.shape[2],
            "out_dtype": graph.values[pool.output].dtype,
        }
        new.append(Node("mean_rows", (sums,), pool.outputs, attrs, pool.name))
    else:
        name = f"{body[-1].name or body[-1].output} whole"
        new.append(Node("concat_rows", tuple(parts), body[-1].outputs, {"axis": 1}, name))
    made.nodes = [*before, *new, *graph.nodes[last + 1 :]]
    made.drop_unused()
    return made.verify()


def demands(graph: Graph, body: list[Node], rows: Rows) -> dict[str, Rows]:
    """Rows of every value, inside and at the edge of the chain, that `rows` of its end need."""
    need: dict[str, Rows] = {body[-1].output: rows}
    for node in reversed(body):
        begin, end = need[node.output]
        for name in node.inputs:
            if graph.is_constant(name):
                continue
            lo, hi, _, _ = _window(graph, node, begin, end)
            old = need.get(name)
            need[name] = (min(lo, old[0]), max(hi, old[1])) if old else (lo, hi)
    return need


def recomputed(graph: Graph, first: int, last: int, bands: int) -> list[int]:
    """Rows that each node of a chain computes in all bands together, a pool's left out."""
    nodes = chain(graph, first, last)
    body = nodes[:-1] if is_global_pool(graph, nodes[-1]) else nodes
    height = graph.values[body[-1].output].shape[1]
    edges = _edges(height, bands)
    total = [0] * len(body)
    for begin, end in pairwise(edges):
        need = demands(graph, body, (begin, end))
        for i, node in enumerate(body):
            total[i] += need[node.output][1] - need[node.output][0]
    return total


def _edges(height: int, bands: int) -> list[int]:
    """Where bands begin and end; at even rows if there are enough, which many kernels pair."""
    step = 2 if height >= 2 * bands else 1
    return [height // step * b // bands * step for b in range(bands)] + [height]


def _window(graph: Graph, node: Node, begin: int, end: int) -> tuple[int, int, int, int]:
    """Input rows [lo, hi) of output rows [begin, end), and rows of padding above and below."""
    if node.op in ELEMENTWISE:
        return begin, end, 0, 0
    height = graph.values[node.inputs[0]].shape[1]
    if node.op == "conv2d":
        kernel = graph.values[node.inputs[1]].shape[1]
    elif node.op == "depthwise_conv2d":
        kernel = graph.values[node.inputs[1]].shape[0]
    else:
        kernel = win.pair(node, "kernel")[0]
    stride, dilation = win.pair(node, "strides", 1)[0], win.pair(node, "dilations", 1)[0]
    top = win.pads_of(node)[0]
    lo = begin * stride - top
    hi = (end - 1) * stride - top + (kernel - 1) * dilation + 1
    return max(lo, 0), min(hi, height), max(-lo, 0), max(hi - height, 0)


def _band(
    graph: Graph, made: Graph, body: list[Node], rows: Rows, band: int, new: list[Node]
) -> str:
    """Append the nodes of one band to `new`; the name of its result."""
    need = demands(graph, body, rows)
    inside: dict[str, str] = {}
    for node in body:
        begin, end = need[node.output]
        lo, hi, above, below = _window(graph, node, begin, end)
        inputs = []
        for name in node.inputs:
            if graph.is_constant(name):
                inputs.append(name)
            elif name in inside:
                start, stop = need[name]
                inputs.append(_view(made, inside[name], (lo - start, hi - start), new)
                              if (lo, hi) != (start, stop) else inside[name])  # fmt: skip
            elif (lo, hi) == (0, graph.values[name].shape[1]):
                inputs.append(name)
            else:
                inputs.append(_view(made, name, (lo, hi), new))
        if node.op == "add" and node.inputs[0] in inside and node.inputs[1] not in inside:
            # Kernels let the result take the place of the first operand: be it the one that is
            # whole, not a band.
            inputs.reverse()
        attrs = dict(node.attrs)
        if node.op in WINDOWS:
            pads = win.pads_of(node)
            attrs["pads"] = [above, pads[1], below, pads[3]]
        old = graph.values[node.output]
        out = made.fresh(f"{old.name} band {band}")
        made.add_value(replace(old, name=out, shape=(1, end - begin, *old.shape[2:])))
        label = f"{node.name or node.output} rows {begin}-{end - 1}"
        new.append(replace(node, inputs=tuple(inputs), outputs=(out,), attrs=attrs, name=label))
        inside[node.output] = out
    return inside[body[-1].output]


def _view(made: Graph, name: str, rows: Rows, new: list[Node]) -> str:
    value = made.values[name]
    out = made.fresh(f"{name} rows {rows[0]}-{rows[1] - 1}")
    made.add_value(replace(value, name=out, shape=(1, rows[1] - rows[0], *value.shape[2:])))
    new.append(Node("slice_rows", (name,), (out,), {"axis": 1, "rows": list(rows)}, out))
    return out


def _sum(made: Graph, pool: Node, part: str, sums: str, band: int, new: list[Node]) -> str:
    value = made.values[part]
    out = made.fresh(f"{pool.output} sums {band}")
    made.add_value(Value(out, (1, 1, 1, value.shape[3]), "int32", value.quant))
    label = f"{pool.name or pool.output} sums {band}"
    new.append(Node("sum_rows", (part, sums) if sums else (part,), (out,), {}, label))
    return out
