"""ONNX products of matrices."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from edgekit.importers.common import Refused, check_made, invalid
from edgekit.importers.onnx.builder import OnnxBuilder, handles
from edgekit.importers.onnx.index import picked
from edgekit.importers.onnx.node import OnnxNode, operand
from edgekit.importers.quantized import Grid


@handles("MatMul")
def matmul(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real operands of any rank; a constant matrix becomes a fully connected layer."""
    left, right = (b.shape_of(operand(node, i)) for i in (0, 1))
    _check(node, left, right)
    fixed = [b.const(operand(node, i)) is not None for i in (0, 1)]
    out = node.outputs[0]
    if fixed[1] and len(right) == 2:
        w = b.floats(node, 1, "weights")
        x = b.x(node)
        rows = b.reshape(x, (1, left[0]), node=node.name) if len(left) == 1 else x
        y = dense(b, node, rows, w.T, None, b.grid(node, 1, 1), "" if len(left) == 1 else out)
    elif fixed[0] and len(left) == 2 and len(right) <= 2:
        w = b.floats(node, 0, "weights")
        x = b.x(node, 1)
        x = b.reshape(x, (1, right[0]), node=node.name) if len(right) == 1 else b.transpose(
            x, (1, 0), node=node.name)  # fmt: skip
        y = dense(b, node, x, w, None, b.grid(node, 0, 0))
        if len(right) == 2:
            b.transpose(y, (1, 0), node=node.name, out=out)
            return
    else:
        a, c = b.x(node, 0), b.x(node, 1)
        a = b.reshape(a, (1, left[0]), node=node.name) if len(left) == 1 else a
        c = b.reshape(c, (right[0], 1), node=node.name) if len(right) == 1 else c
        whole = len(left) > 1 and len(right) > 1
        y = b.emit("matmul", [a, c], node=node.name, out=out if whole else "")
    if y != out:
        shape = (*_lead(left, right), *left[-2:-1], *(right[-1:] if len(right) > 1 else ()))
        b.reshape(y, shape, node=node.name, out=out)


def _lead(left: tuple[int, ...], right: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(np.broadcast_shapes(left[:-2], right[:-2]))


def _check(node: OnnxNode, left: tuple[int, ...], right: tuple[int, ...]) -> None:
    fits = bool(left and right) and left[-1] == right[-2 if len(right) > 1 else 0]
    try:
        _lead(left, right)
    except ValueError:
        fits = False
    if not fits:
        raise invalid(f"node '{node.name}' ({node.op}): {list(left)} times {list(right)}")


def dense(
    b: OnnxBuilder,
    node: OnnxNode,
    x: str,
    w: np.ndarray,
    bias: np.ndarray | None,
    grid: Grid | None,
    out: str = "",
) -> str:
    """fully_connected with w [O, K] and bias [O], zeros where None."""
    weights = b.constant(f"{node.name}:weights", np.ascontiguousarray(w, np.float32), grid)
    bias = np.zeros(len(w), np.float32) if bias is None else bias.astype(np.float32)
    bias_name = b.constant(f"{node.name}:bias", bias)
    return b.emit("fully_connected", [x, weights, bias_name], node=node.name, out=out)


@handles("Gemm")
def gemm(b: OnnxBuilder, node: OnnxNode) -> None:
    """Real matrices, transposed or not; constant weights become a fully connected layer."""
    shapes = [b.shape_of(operand(node, i)) for i in (0, 1)]
    turned = [bool(node.integer(key, 0)) for key in ("transA", "transB")]
    left, right = (s[::-1] if t else s for s, t in zip(shapes, turned, strict=True))
    if len(left) != 2 or len(right) != 2:
        raise invalid(f"node '{node.name}' (Gemm): {list(left)} times {list(right)}")
    if left[1] != right[0]:
        raise invalid(f"node '{node.name}' (Gemm): {list(left)} times {list(right)}")
    if b.const(operand(node, 1)) is None:
        _gemm_in_parts(b, node, turned)
        return
    w = b.floats(node, 1, "weights")
    w = w if turned[1] else w.T
    x = b.transpose(b.x(node), (1, 0), node=node.name) if turned[0] else b.x(node)
    alpha, beta = np.float32(node.number("alpha", 1.0)), np.float32(node.number("beta", 1.0))
    grid = b.grid(node, 1, 0 if turned[1] else 1)
    if grid is not None and alpha != 0:
        grid = replace(grid, scale=grid.scale * abs(alpha))
    bias = _bias(b, node, len(w), beta)
    if bias is not None:
        dense(b, node, x, w * alpha, bias, grid, node.outputs[0])
        return
    y = f"{node.outputs[0]}:product"
    b.alias[y] = dense(b, node, x, w * alpha, None, grid)
    _add_scaled(b, node, y, float(beta))


def _bias(b: OnnxBuilder, node: OnnxNode, outputs: int, beta: np.float32) -> np.ndarray | None:
    """The third operand as one number per output, None where it is no such constant."""
    if not operand(node, 2):
        return np.zeros(outputs, np.float32)
    addend = b.const(operand(node, 2))
    if addend is None or addend.size != math.prod(addend.shape[-1:]):
        return None
    c = b.floats(node, 2, "bias").reshape(-1)
    if c.size not in (1, outputs):
        raise invalid(f"node '{node.name}' (Gemm): {c.size} biases for {outputs} results")
    return np.broadcast_to(c * beta, outputs)


def _gemm_in_parts(b: OnnxBuilder, node: OnnxNode, turned: list[bool]) -> None:
    """Both factors are computed at run time."""
    a, c = b.x(node, 0), b.x(node, 1)
    if turned[0]:
        a = b.transpose(a, (1, 0), node=node.name)
    attrs = {"transpose_b": True} if turned[1] else {}
    out, alpha = node.outputs[0], node.number("alpha", 1.0)
    plain = alpha == 1 and not operand(node, 2)
    y = b.emit("matmul", [a, c], attrs, node=node.name, out=out if plain else "")
    if alpha != 1:
        factor = b.number(node, "alpha", alpha)
        y = b.emit("mul", [y, factor], node=node.name, out="" if operand(node, 2) else out)
    if operand(node, 2):
        name = f"{out}:product"
        b.alias[name] = y
        _add_scaled(b, node, name, node.number("beta", 1.0))


def _add_scaled(b: OnnxBuilder, node: OnnxNode, product: str, beta: float) -> None:
    """The node's result: `product` plus beta times the third operand."""
    addend = node.inputs[2]
    if beta != 1:
        b.data[f"{product}:beta"] = np.asarray(beta, np.float32)
        addend = b.run(node, "Mul", [addend, f"{product}:beta"], f"{product}:addend")
    b.run(node, "Add", [product, addend], node.outputs[0])


@handles("Einsum")
def einsum(b: OnnxBuilder, node: OnnxNode) -> None:
    """Any number of real operands, without broadcasting in '...'."""
    terms, out = _einsum_terms(b, node)
    names = list(node.inputs)
    for i, term in enumerate(terms):
        if len(set(term)) != len(term):
            names[i], terms[i] = _diagonal(b, node, i, term)
    while len(names) > 1:
        needed = set(out).union(*terms[2:])
        term, name = _contract(b, node, terms[:2], names[:2], needed, len(names))
        terms, names = [term, *terms[2:]], [name, *names[2:]]
    name = _summed(b, node, names[0], terms[0], out)
    kept = [c for c in terms[0] if c in out]
    perm = [kept.index(c) for c in out]
    b.run(node, "Transpose", [name], node.outputs[0], {"perm": perm})


def _einsum_terms(b: OnnxBuilder, node: OnnxNode) -> tuple[list[str], str]:
    """Indices of each operand and of the result; those that '...' stands for are digits."""
    equation = node.text("equation", "").replace(" ", "")
    left, arrow, out = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(node.inputs):
        raise invalid(f"node '{node.name}' (Einsum): '{equation}' for {len(node.inputs)} operands")
    sizes: dict[str, int] = {}
    most = ""
    for i, term in enumerate(terms):
        shape = b.shape_of(node.inputs[i])
        more = len(shape) - len(term.replace("...", ""))
        if "..." in term and 0 <= more <= 8:
            digits = "01234567"[8 - more :]
            terms[i], most = term.replace("...", digits), max(most, digits, key=len)
        if len(terms[i]) != len(shape):
            raise invalid(f"node '{node.name}' (Einsum): '{term}' of an operand {list(shape)}")
        for c, size in zip(terms[i], shape, strict=True):
            if sizes.setdefault(c, size) != size:
                raise Refused(f"index '{c}' has the sizes {sizes[c]} and {size}")
    if not arrow:
        letters = "".join(terms)
        out = "..." + "".join(sorted(c for c in set(letters) if letters.count(c) == 1
                                     and c.isalpha()))  # fmt: skip
    out = out.replace("...", most)
    if not set(out) <= set(sizes) or len(set(out)) != len(out):
        raise invalid(f"node '{node.name}' (Einsum): '{equation}' makes an index that is not there")
    return terms, out


def _diagonal(b: OnnxBuilder, node: OnnxNode, index: int, term: str) -> tuple[str, str]:
    """An operand in which an index occurs twice, by its diagonal."""
    x = b.x(node, index)
    kept = "".join(dict.fromkeys(term))
    letters = {c: chr(ord("a") + i) for i, c in enumerate(kept)}
    equation = "".join(letters[c] for c in term) + "->" + "".join(letters[c] for c in kept)
    check_made("operand", b.value(x).size)
    places = np.einsum(equation, np.arange(b.value(x).size).reshape(b.value(x).shape))
    name = f"{node.outputs[0]}:diagonal{index}"
    b.alias[name] = picked(b, node, x, places)
    return name, kept


def _summed(b: OnnxBuilder, node: OnnxNode, name: str, term: str, needed: str | set[str]) -> str:
    """`name` with the indices summed that are not needed."""
    axes = [i for i, c in enumerate(term) if c not in needed]
    if not axes:
        return name
    key = b.fresh(f"{node.outputs[0]}:axes")
    b.data[key] = np.asarray(axes, np.int64)
    part = replace(node, opset=max(node.opset, 13))
    return b.run(part, "ReduceSum", [name, key], f"{key}:sum", {"keepdims": 0})


def _contract(
    b: OnnxBuilder,
    node: OnnxNode,
    terms: list[str],
    names: list[str],
    needed: set[str],
    step: int,
) -> tuple[str, str]:
    """The product of two operands over the indices that nothing else needs."""
    both = set(terms[0]) & set(terms[1])
    for i in (0, 1):
        keep = needed | both
        names[i] = _summed(b, node, names[i], terms[i], keep)
        terms[i] = "".join(c for c in terms[i] if c in keep)
    batch = [c for c in terms[0] if c in both and c in needed]
    inner = [c for c in terms[0] if c in both and c not in needed]
    free = [[c for c in t if c not in both] for t in terms]
    size = {
        c: d for t, n in zip(terms, names, strict=True)
        for c, d in zip(t, b.shape_of(n), strict=True)
    }  # fmt: skip

    def shaped(i: int, order: list[list[str]]) -> str:
        """Operand i as [batch..., one axis per further group]."""
        flat = [c for group in order for c in group]
        stem = b.fresh(f"{node.outputs[0]}:{step}.{i}")
        perm = [terms[i].index(c) for c in flat]
        turned = b.run(node, "Transpose", [names[i]], f"{stem}:turned", {"perm": perm})
        shape = [size[c] for c in batch] + [
            int(np.prod([size[c] for c in group])) for group in order[1:]
        ]
        b.data[f"{stem}:shape"] = np.asarray(shape, np.int64)
        return b.run(node, "Reshape", [turned, f"{stem}:shape"], f"{stem}:flat")

    left = shaped(0, [batch, free[0], inner])
    right = shaped(1, [batch, inner, free[1]])
    term = "".join([*batch, *free[0], *free[1]])
    stem = b.fresh(f"{node.outputs[0]}:{step}")
    op = "MatMul" if inner or not batch else "Mul" if not free[0] and not free[1] else "MatMul"
    product = b.run(node, op, [left, right], f"{stem}:product")
    b.data[f"{stem}:shape"] = np.asarray([size[c] for c in term], np.int64)
    return term, b.run(node, "Reshape", [product, f"{stem}:shape"], f"{stem}:result")
