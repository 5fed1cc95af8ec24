"""Arrays on the host: names, layouts, dtypes, and one precise error for each mistake."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit import data
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, Quant, Value
from edgekit.ops import convert


def graph(quant: bool = False, inputs: tuple[str, ...] = ("image",)) -> Graph:
    """NHWC [1, 4, 5, 3] inputs that the model file declares as NCHW."""
    g = Graph("g", metadata={"layout": {"image": "NCHW"}})
    for name in inputs:
        q = Quant.make(0.5, 10) if quant else None
        g.add_value(Value(name, (1, 4, 5, 3), "int8" if quant else "float32", q))
        g.inputs.append(name)
    g.outputs = list(inputs)
    return g


NHWC = np.arange(120, dtype=np.float32).reshape(2, 4, 5, 3)


def test_both_layouts_are_taken() -> None:
    for array in (NHWC, NHWC.transpose(0, 3, 1, 2)):
        np.testing.assert_array_equal(data.prepare(graph(), {"image": array})["image"], NHWC)
    back = data.to_declared_layout(graph(), "image", NHWC)
    assert back.shape == (2, 3, 4, 5)


def test_only_input_goes_by_input() -> None:
    assert list(data.prepare(graph(), {"input": NHWC})) == ["image"]


@pytest.mark.parametrize(
    ("arrays", "code", "message"),
    [
        ({"imag": NHWC}, "E201", "'imag'"),
        ({"image": NHWC, "extra": NHWC}, "E201", "'extra'"),
        ({}, "E201", "no array for input 'image'"),
        ({"image": NHWC[0]}, "E202", r"\[4, 5, 3\], expected \[n, 3, 4, 5\] or \[n, 4, 5, 3\]"),
        ({"image": NHWC[:, :, :, :2]}, "E202", r"\[2, 4, 5, 2\]"),
        ({"image": np.float32(3)}, "E202", r"shape \[\]"),
        ({"image": NHWC.astype(complex)}, "E203", "complex128"),
        ({"image": NHWC.astype(object)}, "E203", "object"),
        ({"image": NHWC.astype(str)}, "E203", "<U"),
        ({"image": NHWC[:0]}, "E205", "0 samples"),
    ],
)
def test_mistakes(arrays: dict[str, Any], code: str, message: str) -> None:
    with pytest.raises(EdgekitError, match=message) as error:
        data.prepare(graph(), arrays)
    assert error.value.code == code
    assert error.value.help and "\n" not in error.value.message


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_sample_that_is_not_finite_is_named(bad: float) -> None:
    array = np.zeros((200, 4, 5, 3), np.float32)
    array[130, 1, 2, 0] = bad
    with pytest.raises(EdgekitError, match=r"sample 130 of 'image'.*1 of its 60") as error:
        data.prepare(graph(), {"image": array})
    assert error.value.code == "E204"


def test_beyond_float32_is_not_finite() -> None:
    with pytest.raises(EdgekitError, match="1e\\+300"):
        data.prepare(graph(), {"image": np.full((2, 4, 5, 3), 1e300)})


def test_sample_counts_must_agree() -> None:
    with pytest.raises(EdgekitError, match="'image' 2, 'b' 1") as error:
        data.prepare(graph(inputs=("image", "b")), {"image": NHWC, "b": NHWC[:1]})
    assert error.value.code == "E205"


def test_files(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", input=NHWC, label=np.array([1, 2]))
    loaded = data.load(tmp_path / "a.npz", graph())
    assert loaded.count == 2 and loaded.labels is not None and loaded.labels.tolist() == [1, 2]
    np.save(tmp_path / "a.npy", NHWC)
    assert data.load(tmp_path / "a.npy", graph()).labels is None


def test_bad_files(tmp_path: Path) -> None:
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "label.npz", input=NHWC, label=np.array([1, 2, 3]))
    np.savez(tmp_path / "object.npz", input=np.array([None, "x"], object))
    cut = tmp_path / "cut.npz"
    np.savez(cut, input=NHWC)
    cut.write_bytes(cut.read_bytes()[:200])
    expected = {"text": "E200", "label": "E202", "object": "E203", "cut": "E200", "none": "E200"}
    for name, code in expected.items():
        with pytest.raises(EdgekitError) as error:
            data.load(tmp_path / f"{name}.npz", graph())
        assert error.value.code == code, name


def header(text: str) -> bytes:
    """A .npy file of version 1.0 that ends behind its header."""
    line = text.encode().ljust(54) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(line).to_bytes(2, "little") + line


def test_sizes_are_checked_before_anything_is_allocated(tmp_path: Path) -> None:
    claim = header("{'descr':'<f4','fortran_order':False,'shape':(1099511627776,)}")
    (tmp_path / "claim.npy").write_bytes(claim)
    (tmp_path / "nonsense.npy").write_bytes(header("{'descr':'<f4',,}"))
    np.savez_compressed(tmp_path / "bomb.npz", image=np.zeros((1 << 20, 20), np.float32))
    words = {"claim.npy": "needs 4398046511104 bytes, 0 are stored", "nonsense.npy": "cannot read",
             "bomb.npz": "claims to unpack to 83886208"}  # fmt: skip
    for name, word in words.items():
        with pytest.raises(EdgekitError, match=word) as error:
            data.load(tmp_path / name, graph())
        assert error.value.code == "E200", name


def test_compressed_arrays_of_ordinary_size(tmp_path: Path) -> None:
    zeros = np.zeros((1000, 4, 5, 3), np.float32)
    np.savez_compressed(tmp_path / "zeros.npz", image=zeros)
    np.testing.assert_array_equal(data.load(tmp_path / "zeros.npz", graph()).arrays["image"], zeros)


def test_int8_is_raw_and_everything_else_is_real() -> None:
    g = graph(quant=True)
    raw = np.array([-128, 5, 127], np.int8)
    assert data.quantize_input(g, "image", raw) is raw
    for dtype in (np.uint8, np.float32, np.float64, np.int16, np.int64):
        got = data.quantize_input(g, "image", np.array([0, 5, 200], dtype))
        assert got.tolist() == [10, 20, 127] and got.dtype == np.int8


def test_halves_round_away_from_zero() -> None:
    value = Value("x", (1, 4), "int8", Quant.make(1.0, 0))
    got = convert.quantize(value, np.array([0.5, 1.5, -0.5, -2.5]))
    assert got.tolist() == [1, 2, -1, -3]


def test_dequantize() -> None:
    g = graph(quant=True)
    got = data.dequantize_output(g, "image", np.array([[10, 11, -128]], np.int8))
    assert got.dtype == np.float32 and got.tolist() == [[0.0, 0.5, -69.0]]
    per_channel = Value("w", (2, 1), "int8", Quant.make([0.5, 2.0], 0, 0))
    assert convert.dequantize(per_channel, np.array([[3], [3]], np.int8)).tolist() == [[1.5], [6.0]]
