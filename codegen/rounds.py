"""Which kernels of TVM's can be computed in parts: those of one outermost loop whose rounds have
nothing to do with each other.

1. Nothing but that loop is at the top, so everything a round allocates is its own.
2. A round reads nothing of the results, and hands them to no function.
3. What round i writes lies in [i * step + low, i * step + high], with high - low < step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from codegen.tvm_nodes import kind as _kind
from codegen.tvm_nodes import walk as _walk

#: Statements that say where memory is and print as nothing.
_SILENT = ("DeclBuffer",)


@dataclass(frozen=True)
class _Span:
    """step * v + anything in [low, high], for v the variable of the outermost loop."""

    step: int
    low: int
    high: int

    def __add__(self, other: _Span) -> _Span:
        return _Span(self.step + other.step, self.low + other.low, self.high + other.high)

    def times(self, k: int) -> _Span:
        ends = (self.low * k, self.high * k)
        return _Span(self.step * k, min(ends), max(ends))


class _Unknown(Exception):
    """An index that is no sum of multiples of loop variables."""


def independent(body: Any, is_result: Callable[[Any], bool]) -> Any | None:
    """The outermost loop, where its rounds may run in any order and at the same time; else None.

    Args:
        body: of a lowered PrimFunc.
        is_result: whether a buffer is one of the parameters that it writes to.
    """
    top = [s for s in _statements(body) if _kind(s) not in _SILENT]
    if len(top) != 1 or _kind(top[0]) != "For":
        return None
    loop = top[0]
    if not _counts(loop) or int(loop.extent) < 2:
        return None
    spans: list[_Span] = []
    try:
        _visit(loop.body, {loop.loop_var: _Span(1, 0, 0)}, is_result, spans)
    except _Unknown:
        return None
    if not spans or len({s.step for s in spans}) > 1:
        return None
    apart = max(s.high for s in spans) - min(s.low for s in spans) < spans[0].step
    return loop if apart else None


def _visit(
    node: Any, known: dict[Any, _Span], is_result: Callable[[Any], bool], spans: list[_Span]
) -> None:
    """Collect what the statements below `node` write of the results."""
    kind = _kind(node)
    if kind == "For":
        if not _counts(node):
            raise _Unknown
        inner = _Span(0, 0, int(node.extent) - 1)
        _visit(node.body, {**known, node.loop_var: inner}, is_result, spans)
    elif kind == "SeqStmt":
        for child in node.seq:
            _visit(child, known, is_result, spans)
    elif kind == "IfThenElse":
        _reads(node.condition, is_result)
        _visit(node.then_case, known, is_result, spans)
        if node.else_case is not None:
            _visit(node.else_case, known, is_result, spans)
    elif kind == "BufferStore":
        _reads(node.value, is_result)
        if is_result(node.buffer):
            spans.append(_index(node.indices[0], known))
    elif kind in ("Evaluate", "Bind"):
        _reads(node.value, is_result)
    elif kind == "AttrStmt":
        _visit(node.body, known, is_result, spans)
    elif kind not in ("AllocBuffer", *_SILENT):
        raise _Unknown


def _index(index: Any, known: dict[Any, _Span]) -> _Span:
    if _kind(index) == "Ramp":
        lanes = int(index.lanes)
        if _kind(index.stride) != "IntImm" or int(index.stride) != 1:
            raise _Unknown
        return _index(index.base, known) + _Span(0, 0, lanes - 1)
    return _span(index, known)


def _span(node: Any, known: dict[Any, _Span]) -> _Span:
    kind = _kind(node)
    if kind == "IntImm":
        return _Span(0, int(node), int(node))
    if kind == "Var" and node in known:
        return known[node]
    if kind == "Add":
        return _span(node.a, known) + _span(node.b, known)
    if kind == "Sub":
        return _span(node.a, known) + _span(node.b, known).times(-1)
    if kind == "Mul" and _kind(node.b) == "IntImm":
        return _span(node.a, known).times(int(node.b))
    raise _Unknown


def _reads(expression: Any, is_result: Callable[[Any], bool]) -> None:
    """Refuse an expression that reads results or hands them on."""
    for node in _walk(expression):
        if _kind(node) in ("TensorLoad", "BufferLoad") and is_result(node.source):
            raise _Unknown
        if _kind(node) == "Call" and str(getattr(node.op, "name", "")) == "tirx.buffer_data":
            raise _Unknown


def _counts(loop: Any) -> bool:
    """Whether it goes from 0 to a number, in order."""
    return (
        _kind(loop.min) == _kind(loop.extent) == "IntImm"
        and int(loop.min) == 0
        and int(loop.kind) == 0
    )


def _statements(node: Any) -> Iterator[Any]:
    if _kind(node) == "SeqStmt":
        for child in node.seq:
            yield from _statements(child)
    elif _kind(node) == "AttrStmt":
        yield from _statements(node.body)
    else:
        yield node
