"""Single .tflite operators with drawn shapes, scales and options against TFLite Micro.

Integers: no byte may differ, for inputs over the whole range. Floats: 1e-5 of the greatest number.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from tflite_files import File
from tflite_operators import DTYPES, OPERATORS, Draw
from tflite_peer import both, differing_bytes, feed, float_error

from edgekit.importers import import_raw, load
from edgekit.importers.tflite.builder import HANDLERS

FEW = settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: Divisions have a test of their own: TFLite Micro leaves open what some of them give.
CASES = [
    (name, dtype)
    for name in OPERATORS
    for dtype in DTYPES[name]
    if (name, dtype) != ("DIV", "int8")
]


@pytest.mark.parametrize(("name", "dtype"), CASES)
def test_equals_tflite_micro(tmp_path: Path, name: str, dtype: str) -> None:
    path = tmp_path / "m.tflite"

    @FEW
    @given(st.data())
    def check(data: st.DataObject) -> None:
        f, d = File(), Draw(data)
        path.write_bytes(f.bytes(*OPERATORS[name](f, d, dtype)))
        graph = import_raw(path)  # passes may declare inputs in another layout
        feeds = feed(graph, d.rng(), 3, plausible=False)
        if dtype == "float32":
            errors = float_error(path, graph, feeds)
            assert errors and max(errors.values()) < 1e-5, errors
        else:
            found = differing_bytes(path, graph, feeds)
            assert found and not any(found.values()), found

    check()


@FEW
@given(st.data())
def test_int8_division(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """Where the divisor is 0 or the dividend tiny, TFLite Micro shifts by more than 31 bits."""
    path = tmp_path_factory.getbasetemp() / "division.tflite"
    f, d = File(), Draw(data)
    (left, right), [y] = _division(f, d)
    path.write_bytes(f.bytes([left, right], [y]))
    graph = load(path)
    feeds = feed(graph, d.rng(), 4, plausible=False)
    a, b = (feeds[n].astype(int).reshape(4, -1) for n in graph.inputs)
    zeros = [int(graph.values[n].quant.zero_point[0]) for n in graph.inputs]  # type: ignore[union-attr]
    defined = (np.abs(a - zeros[0]) >= 16) & (b != zeros[1])
    assume(defined.any())
    [(theirs, ours)] = both(path, graph, feeds).values()
    assert np.array_equal(theirs[defined], ours[defined])


def _division(f: File, d: Draw) -> tuple[list[int], list[int]]:
    shape, left, right = d.shape(4), d.quant("int8"), d.quant("int8")
    scale = float(np.float32(left[1] / right[1] * d.of([0.01, 0.05, 0.3])))
    a, b = f.tensor(shape, *left), f.tensor(shape, *right)
    y = f.tensor(shape, "int8", scale, d.number(-128, 127))
    f.op("DIV", [a, b], [y], "Div", 2, fusedActivationFunction=d.clamp())
    return [a, b], [y]


def test_every_handler_is_drawn_or_tested_elsewhere() -> None:
    """A handler that nobody compares with TFLite Micro must be listed here, with the reason."""
    import edgekit.importers.tflite as importer

    importer.load_handlers()
    folded = {"SHAPE", "RANK", "RANGE", "FILL", "ZEROS_LIKE", "BROADCAST_ARGS"}
    states = {"VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE", "CALL_ONCE"}
    control = {"IF", "WHILE", "CALL"}
    recurrent = {"UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"}
    not_in_tflm = {
        "BIDIRECTIONAL_SEQUENCE_LSTM", "BIDIRECTIONAL_SEQUENCE_RNN", "UNIDIRECTIONAL_SEQUENCE_RNN",
        "RNN", "EMBEDDING_LOOKUP", "REDUCE_PROD", "REDUCE_ANY", "REDUCE_ALL", "TOPK_V2", "POW",
        "GELU", "FLOOR_MOD", "FLOOR_DIV", "RELU_N1_TO_1", "RELU_0_TO_1", "SIGN", "SELECT", "TILE",
        "REVERSE_V2", "ONE_HOT", "DEQUANTIZE",
    }  # fmt: skip
    elsewhere = folded | states | control | recurrent | not_in_tflm
    drawn = set(OPERATORS) - {"DILATED_CONV_2D", "BATCHES_CONV_2D"}
    assert set(HANDLERS) - drawn - elsewhere == set()
    assert drawn <= set(HANDLERS)
