"""ONNX's own tests of single operators ("backend node tests"), run through our importer.

A case is a model of one node (or of the function that defines its operator) with inputs and the
outputs that are expected. It is imported, canonicalized, run in float by the numpy reference, and
compared at the tolerances of the test. What must be a constant (weights, axes, shapes) is bound to
the test's value. Cases that the importer refuses for a reason of `SCOPE` are out of scope and are
counted under that reason; any other refusal is a failure.
"""

from __future__ import annotations

import importlib
import re
import tempfile
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.importers import load
from edgekit.importers.onnx import OnnxBuilder, load_handlers
from edgekit.importers.onnx.builder import HANDLERS, LARGEST
from edgekit.importers.onnx.fold import FOLDED_ONLY
from edgekit.importers.onnx.read import GRAPH_DTYPES, OLDEST_OPSET, read
from edgekit.reference import run

#: Why a case is out of scope: a name, and what the importer says (a regular expression).
SCOPE: tuple[tuple[str, str], ...] = (
    ("training", r"training mode is not supported"),
    ("integer arithmetic", r"only reals are supported here|without a scale|scale of its operand"),
    ("three spatial axes", r"operand has 5 axes|weights have 5 axes"),
    ("types of less than 8 bits, 8-bit floats", r"(to|is) (float8|float4|u?int4|u?int2)"),
    ("16-bit activations with a zero point", r"quantizes to u?int16 with zero point"),
    ("block and per-axis scales of activations", r"scales per block|an activation with \d+ scales"),
    ("asymmetric weights", r"its weights are asymmetric"),
    ("places of MaxPool", r"its second output, the indices"),
    ("peepholes of LSTM", r"peepholes are not supported"),
    ("crops inside Resize", r"tf_crop_and_resize"),
    ("casts to narrow integers", r"not to u?int(8|16)|not to uint(32|64)"),
    ("empty tensors", r"every dimension must be at least 1|leaves nothing|picks nothing"),
    ("opset 8's Scan", r"Scan before opset 9"),
)


#: Imported as what they stand for in a network, with other numbers than their own.
APPROXIMATED = ("DynamicQuantizeLinear",)
#: Operators whose integer operands must be constants; their functions only show it inside.
TIED = ("Attention", "CenterCropPad")
#: Rounding of 16-bit reals: we compute in float32 where the test rounds every step.
COARSE = {"float16": 2.0**-10, "bfloat16": 2.0**-7}


@dataclass(frozen=True)
class Case:
    """One test; `op` is the operator that it is about, also where its function is spelt out."""

    name: str
    op: str
    model: onnx.ModelProto
    inputs: Sequence[Any]
    outputs: Sequence[Any]
    rtol: float
    atol: float


@dataclass(frozen=True)
class Result:
    """`status` is "passed", "failed" or "out of scope"; `why` the kind or the fault."""

    case: Case
    status: str
    why: str = ""
    graph: Graph | None = None


def claimed() -> list[str]:
    """Operators of the default domain that are imported."""
    load_handlers()
    known = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
    return sorted(known.intersection(HANDLERS) - set(APPROXIMATED))


def cases(modules: Iterable[str] | None = None) -> list[Case]:
    """The tests of the installed onnx; of some modules of its test folder only where named."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from onnx.backend.test.case import node

        if modules is None:
            found = node.collect_testcases(None)
        else:
            for name in modules:
                importlib.import_module(f"{node.__name__}.{name}")
            found = list(node._NodeTestCases)
    ops = {name: proto.op_type for name, proto in node._existing_names.items()}
    result = []
    for c in found:
        [(inputs, outputs)] = c.data_sets
        op = ops.get(re.sub(r"_expanded(_ver\d+)?$", "", c.name), "?")
        if not any(o.domain not in ("", "ai.onnx") for o in c.model.opset_import):
            result.append(Case(c.name, op, c.model, inputs, outputs, c.rtol, c.atol))
    return result


def judge(case: Case) -> Result:
    """Import, run and compare one case."""
    kind = _foreign(case)
    if kind:
        return Result(case, "out of scope", kind)
    # An empty tensor is no activation; of the second operand of CastLike only the type matters.
    bound = {n for n, a in arrays_of(case).items() if 0 in a.shape}
    if "_expanded" in case.name and case.op in TIED:
        bound |= {n for n, a in arrays_of(case).items() if a.dtype.kind in "iu"}
    if "Quantize" in case.op or "QLinear" in case.op:
        bound |= {i.name for i in case.model.graph.input
                  if "scale" in i.name or "zero_point" in i.name}  # fmt: skip
    names = [i.name for i in case.model.graph.input]
    said = ""
    for attempt in range(8):
        try:
            graph, got = _outputs(case, bound)
        except EdgekitError as error:
            text = str(error) if not error.details else " / ".join(error.details)
            more = {n for n in re.findall(r"'([^']*)' must be a constant", text) if n in names}
            said = text
            if more - bound:
                bound |= more
            elif "constant" in text and attempt < 7:
                arrays = arrays_of(case)
                integers = {n for n in names[1:] if arrays[n].dtype.kind in "iub"} - bound
                more = integers or set(names[1:]) - bound
                if case.op in FOLDED_ONLY:
                    more = set(names) - bound
                if not more:
                    break
                bound |= more
            else:
                break
        else:
            fault = _compare(case, got)
            return Result(case, "failed" if fault else "passed", fault, graph)
    for kind, pattern in SCOPE:
        if re.search(pattern, said):
            return Result(case, "out of scope", kind)
    return Result(case, "failed", said)


def _foreign(case: Case) -> str:
    """Why a case is no matter of tensors of numbers at all, "" where it is."""
    arrays = [*case.inputs, *case.outputs]
    if any(isinstance(a, list) or a is None for a in arrays):
        return "sequences and optional values"
    if any(np.asarray(_array(a)).dtype.kind in "OUS" for a in arrays):
        return "text"
    if any(0 in np.asarray(_array(a)).shape for a in case.outputs):
        return "empty tensors"
    return ""


def _array(value: Any) -> np.ndarray:
    if isinstance(value, onnx.TensorProto):
        return np.asarray(numpy_helper.to_array(value))
    return np.asarray(value)


def arrays_of(case: Case) -> dict[str, np.ndarray]:
    """The test's inputs by name."""
    names = [i.name for i in case.model.graph.input]
    return {n: _array(a) for n, a in zip(names, case.inputs, strict=False)}


def _outputs(case: Case, bound: set[str]) -> tuple[Graph | None, list[Any]]:
    arrays = arrays_of(case)
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    del model.graph.input[:]
    model.graph.input.extend(i for i in case.model.graph.input if i.name not in bound)
    for i in case.model.graph.input:  # the test's values say what open dimensions are
        if i.name in bound:
            model.graph.initializer.append(numpy_helper.from_array(arrays[i.name], i.name))
    for i in model.graph.input:
        i.type.tensor_type.ClearField("shape")
        i.type.tensor_type.shape.SetInParent()
        for d in arrays[i.name].shape:
            i.type.tensor_type.shape.dim.add().dim_value = d
    for o in model.opset_import:  # the same operators under the oldest version that is read
        o.version = max(o.version, OLDEST_OPSET)
    known = _folded(model)
    outputs = [o.name for o in model.graph.output]
    if not set(outputs) - set(known):
        return None, [known[o] for o in outputs]
    left = [o for o in model.graph.output if o.name not in known]
    del model.graph.output[:]
    model.graph.output.extend(left)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(model.SerializeToString())
        graph = load(path)
    feeds = {n: _fed(graph, n, arrays[n]) for n in graph.inputs}
    results = run(graph, feeds)
    made = dict(zip((o.name for o in left), graph.outputs, strict=True))
    return graph, [known[o] if o in known else _read(graph, made[o], results[made[o]])
                   for o in outputs]  # fmt: skip


def _fed(graph: Graph, name: str, array: np.ndarray) -> np.ndarray:
    value = graph.values[name]
    if name in graph.metadata.get("layout", {}):
        array = array.transpose(0, 2, 3, 1)
    if value.quant is not None and array.dtype.kind == "f":
        q = np.round(array.astype(np.float32) / value.quant.scale) + value.quant.zero_point
        info = np.iinfo(value.dtype)
        array = np.clip(q, info.min, info.max)
    elif value.quant is not None and array.dtype.kind == "u":
        array = array.astype(np.int64) - (1 << 8 * array.dtype.itemsize - 1)
    array = array.astype(value.dtype).reshape(value.shape)
    return array if value.shape[:1] == (1,) else array[None]


def _read(graph: Graph, name: str, array: np.ndarray) -> Any:
    """An output as the file declares it, with its quantization where it has one."""
    value = graph.values[name]
    array = array.reshape(value.shape)
    if name in graph.metadata.get("layout", {}):
        array = array.transpose(0, 3, 1, 2)
    return array if value.quant is None else (array, value.quant)


def _folded(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    """The outputs that importing alone computes, by name."""
    plain = onnx.ModelProto()
    plain.CopyFrom(model)
    if not plain.graph.input:
        plain.graph.input.append(onnx.helper.make_tensor_value_info("unread input", 1, [1]))
    path = Path("model.onnx")
    builder = OnnxBuilder(read(path, plain.SerializeToString(), {}), path.parent)
    for name, shape in builder.model.inputs.items():
        builder.add_input(name, shape, GRAPH_DTYPES[builder.model.dtypes[name]])
    builder.import_nodes(builder.model.nodes)
    if builder.found and not model.graph.input:
        raise EdgekitError("E102", builder.found[0].reason, help="")
    return {o: builder.data[o] for o in builder.model.outputs if o in builder.data}


def _compare(case: Case, got: list[Any]) -> str:
    """What differs, "" where nothing does."""
    if len(got) != len(case.outputs):
        return f"{len(got)} outputs of {len(case.outputs)}"
    for result, output in zip(got, case.outputs, strict=True):
        want = _array(output)
        have, quant = result if isinstance(result, tuple) else (result, None)
        rtol = max(case.rtol, COARSE.get(str(want.dtype), 0))
        atol = max(case.atol, COARSE.get(str(want.dtype), 0))
        if quant is not None and want.dtype.kind == "f":
            have = (have.astype(np.float64) - quant.zero_point) * quant.scale
        if want.dtype.kind not in "iub":
            want = want.astype(np.float64)
            masked = np.isinf(want) & (np.abs(have) >= LARGEST / 2)  # as good as infinite
            have = np.where(masked, want, have) if have.shape == want.shape else have
        if not want.shape and have.shape == (1,):  # a number is a tensor of one axis here
            have = have.reshape(())
        if have.shape != want.shape:
            return f"shape {have.shape} instead of {want.shape}"
        if want.dtype.kind == "u" and have.dtype.kind == "i" and have.dtype.itemsize == 1:
            have = have.astype(np.int64) + 128  # uint8 is int8 with another zero point here
        if want.dtype.kind in "iub":
            if not np.array_equal(have.astype(np.int64), want.astype(np.int64)):
                return f"{int((have != want).sum())} of {want.size} integers differ"
        elif not np.allclose(have, want, rtol=rtol, atol=atol, equal_nan=True):
            with np.errstate(invalid="ignore"):
                worst = np.nanmax(np.abs(have - want))
            return f"differs by {worst:g}"
    return ""
