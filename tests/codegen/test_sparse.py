"""Sparse weights: the format, its decoder on host, under sanitizers and on the M4, the kernels."""

from __future__ import annotations

import ctypes
import subprocess
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from built import M4, merged, run_host, run_m4
from graphs import batch, one_node, quants
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tools import need

from codegen import memory_check
from codegen.kernel import Candidate, KernelSpec, Operand
from codegen.lower import build_program
from codegen.schedules import _sparse
from edgekit import reference
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.build import firmware_folder
from edgekit.graph import Graph, Quant, Value
from edgekit.toolchain import find_compiler, host_executable, host_library

HERE = Path(__file__).parent
INCLUDE = [firmware_folder() / "include"]
SOURCE = HERE / "sparse_decode.c"


def random_weights(rng: np.random.Generator, shape: tuple[int, ...], zeros: float) -> np.ndarray:
    w = rng.integers(-128, 128, shape).astype(np.int8)
    w[w == 0] = 1
    w[rng.random(shape) < zeros] = 0
    return w


@cache
def _host() -> ctypes.CDLL:
    return ctypes.CDLL(str(host_library([SOURCE], include=INCLUDE)))


def on_host(packed: np.ndarray, blocks: int, n: int) -> np.ndarray:
    out = np.full(blocks * n, 99, np.int8)
    w = np.ascontiguousarray(packed)
    for b in range(blocks):
        at = ctypes.c_void_p(out.ctypes.data + b * n)
        _host().decode(ctypes.c_void_p(w.ctypes.data), w.size, blocks, b * n, n, at)
    return out


@cache
def _m4() -> Bench:
    cc = find_compiler("zig", M4.target)
    return Bench(link_functions(cc.objects([SOURCE], include=INCLUDE), M4, ["decode"], "zig"), M4)


def on_m4(packed: np.ndarray, blocks: int, n: int) -> np.ndarray:
    parts = []
    for b in range(blocks):
        done = _m4().call("decode", [packed.tobytes(), packed.size, blocks, b * n, n, Out(n)])
        parts.append(np.frombuffer(done.outputs[0], np.int8))
    return np.concatenate(parts)


def test_every_mask_of_four_and_every_rest() -> None:
    """All masks, block sizes that do not fill a word, the ends of the stream."""
    rng = np.random.default_rng(0)
    for decode in (on_host, on_m4):
        masks = np.arange(16).repeat(2)
        dense = np.array([[m >> i & 1 for i in range(4)] for m in masks], np.int8) * np.int8(-3)
        blocks = dense.reshape(2, -1)
        np.testing.assert_array_equal(decode(_sparse.encode(blocks, 1), 2, 64), blocks.ravel())
        for n in (1, 3, 31, 32, 33, 64, 95, 100):
            w = random_weights(rng, (3, n), 0.5)
            np.testing.assert_array_equal(decode(_sparse.encode(w, 1), 3, n), w.ravel())


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0, 1), st.integers(1, 4), st.integers(1, 3),
       st.integers(1, 90))  # fmt: skip
def test_round_trip(seed: int, zeros: float, blocks: int, rows: int, k: int) -> None:
    w = random_weights(np.random.default_rng(seed), (blocks * rows, k), zeros)
    packed = _sparse.encode(w, rows)
    words = -(-rows * k // 32)
    assert packed.size == 4 * blocks * (1 + words) + np.count_nonzero(w)
    np.testing.assert_array_equal(on_host(packed, blocks, rows * k), w.ravel())


def test_nothing_beyond_the_bytes_is_read_whatever_they_are() -> None:
    """Damaged streams, under sanitizers: the program decodes random bytes in exact allocations."""
    need("gcc")
    program = host_executable([SOURCE], include=INCLUDE, defines={"FUZZ": ""}, sanitize=True)
    done = subprocess.run([program], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[:2000]


@st.composite
def sparse_graphs(draw: st.DrawFn) -> Graph:
    """conv2d or fully_connected with enough zeros and enough weights to be stored so."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dense = draw(st.booleans())
    channels = draw(st.sampled_from([12, 16, 24, 32]))
    x_quant, out_quant = draw(quants(1e-3, 0.5)), draw(quants(1e-2, 2.0))
    attrs: dict[str, object] = {"clamp": draw(st.sampled_from([None, [0, None]]))}
    if dense:
        k = draw(st.integers(60, 130))
        x_shape, w_shape, out_shape = (1, k), (channels, k), (1, channels)
    else:
        size, c = draw(st.integers(1, 5)), draw(st.sampled_from([3, 8, 12]))
        kernel = 1 if c == 12 and draw(st.booleans()) else 3
        groups = draw(st.sampled_from([1, 1, 4])) if c % 4 == 0 else 1
        attrs |= {"strides": [1, 1], "dilations": [1, 1], "pads": [kernel // 2] * 4,
                  "groups": groups}  # fmt: skip
        x_shape, out_shape = (1, size, size, c), (1, size, size, channels)
        w_shape = (channels, kernel, kernel, c // groups)
    w_quant = Quant.make(np.exp(rng.uniform(np.log(1e-4), np.log(0.1), channels)), 0, 0)
    b_quant = Quant.make(x_quant.scale[0] * w_quant.scale, 0, 0)
    return one_node(
        "fully_connected" if dense else "conv2d",
        [Value("x", x_shape, "int8", x_quant), Value("w", w_shape, "int8", w_quant),
         Value("b", (channels,), "int32", b_quant)],
        Value("y", out_shape, "int8", out_quant),
        {"w": random_weights(rng, w_shape, draw(st.sampled_from([0.4, 0.6, 0.9, 1.0]))),
         "b": rng.integers(-3000, 3000, channels).astype(np.int32)},
        **attrs,
    )  # fmt: skip


@pytest.mark.parametrize("families", [("arm_dsp", "c99"), ("c99",)])
@settings(
    max_examples=2,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_kernels_are_exact(families: tuple[str, ...], tmp_path: Path, data: st.DataObject) -> None:
    graphs = data.draw(st.lists(sparse_graphs(), min_size=8, max_size=8))
    graph = merged(graphs)
    target = replace(M4.target, families=families)
    program = build_program(graph, target, sparse_weights="smallest")
    memory_check.check(program)
    stored = [c for c in program.calls if "bitmask" in c.note]
    assert stored, "the drawn layers have zeros enough"
    assert all(c.scratch_bytes > 0 for c in stored)
    dense = build_program(graph, target, sparse_weights="off")
    assert len(program.constants) < len(dense.constants)
    assert not any("bitmask" in c.note for c in dense.calls)
    feeds = {name: x[:1] for name, x in batch(graph, 1, n=2).items()}
    want = reference.run(graph, feeds)
    on_m4, _ = run_m4(program, tmp_path, feeds)
    for tensor, host, m4 in zip(
        program.outputs, run_host(program, tmp_path, feeds), on_m4, strict=True
    ):
        np.testing.assert_array_equal(host, want[tensor.name], err_msg=f"host {tensor}")
        np.testing.assert_array_equal(m4, want[tensor.name], err_msg=f"m4 {tensor}")


def test_auto_wants_a_quarter_saved() -> None:
    def stored(zeros: float, mode: str, optimize: str = "size") -> bool:
        w = np.ones((32, 64), np.int8)
        w.reshape(-1)[: round(zeros * w.size)] = 0
        quant = Quant.make(np.full(32, 0.01), 0, 0)
        x = Quant.make(0.1, 0)
        graph = one_node(
            "fully_connected",
            [Value("x", (1, 64), "int8", x), Value("w", w.shape, "int8", quant),
             Value("b", (32,), "int32", Quant.make(0.1 * quant.scale, 0, 0))],
            Value("y", (1, 32), "int8", x),
            {"w": w, "b": np.zeros(32, np.int32)},
        )  # fmt: skip
        program = build_program(graph, M4.target, sparse_weights=mode, optimize=optimize)
        return "bitmask" in program.calls[0].note

    assert not stored(0.9, "auto", "balanced"), "dense kernels are faster"
    assert stored(0.42, "auto") and not stored(0.3, "auto")
    assert stored(0.3, "smallest") and not stored(0.1, "smallest") and not stored(0.9, "off")


@pytest.mark.parametrize("tiled", [True, False])
def test_blocks_divide_the_rows_and_are_worth_their_packing(tiled: bool) -> None:
    for rows in range(1, 300):
        for row_bytes in (4, 36, 64, 200, 576, 1152, 9000):
            found = _sparse.block_rows(rows, row_bytes, tiled)
            if not found:
                continue
            assert rows % found == 0 and found * row_bytes >= _sparse.LEAST_BLOCK
            assert found * row_bytes <= _sparse.MOST_BYTES
            least = _sparse.TILED_LEAST_ROWS if tiled else _sparse.LEAST_ROWS
            assert found >= min(rows, least)


def test_sizes_of_blocks() -> None:
    assert _sparse.block_rows(64, 64, tiled=True) == 64
    assert _sparse.block_rows(64, 576, tiled=True) == 16
    assert _sparse.block_rows(67, 576, tiled=True) == 0, "67 rows of 576 B: all is too much"
    assert _sparse.block_rows(32, 512, tiled=False) == 4
    assert _sparse.block_rows(32, 2560, tiled=False) == 2


def test_layers_of_one_shape_share_a_kernel() -> None:
    def candidate(nbytes: int) -> Candidate:
        spec = KernelSpec("conv2d", "c99", (Operand("w", "int8", nbytes, "constant"),),
                          {"sparse": {"rows": 8, "bytes": nbytes}})  # fmt: skip
        return Candidate(spec, ("x",), {"w": np.ones(nbytes, np.int8)})

    sizes = [1000, 1010, 2000, 900, 1990]
    candidates: list[Candidate | None] = [None, *map(candidate, sizes)]
    changed = _sparse.share_kernels(candidates)
    found = [changed.get(i, candidates[i]) for i in range(1, 6)]
    assert [c.constants["w"].size for c in found if c] == [1010, 1010, 2000, 1010, 2000]
    assert all(c.spec.operands[0].count == c.spec.params["sparse"]["bytes"] for c in found if c)
    assert len({c.spec.key for c in found if c}) == 2


def test_four_bit_weights_take_the_bitmask_where_it_is_smaller(tmp_path: Path) -> None:
    """Two to a byte is half of int8; an eighth and a few values is less. Exact in both forms."""

    def layer(zeros: float) -> Graph:
        rng = np.random.default_rng(3)
        w = np.clip(random_weights(rng, (64, 64), zeros), -7, 7)
        quant = Quant.make(np.full(64, 0.01), 0, 0)
        x = Quant.make(0.1, 0)
        return one_node(
            "fully_connected",
            [Value("x", (1, 64), "int8", x), Value("w", w.shape, "int8", quant),
             Value("b", (64,), "int32", Quant.make(0.1 * quant.scale, 0, 0))],
            Value("y", (1, 64), "int8", x),
            {"w": w, "b": np.zeros(64, np.int32)},
            weight_bits=4,
        )  # fmt: skip

    for zeros, masked in ((0.9, True), (0.3, False)):
        graph = merged([layer(zeros)])
        program = build_program(graph, M4.target)
        (call,) = program.calls
        assert ("bitmask" in call.note) == masked
        dense = build_program(graph, M4.target, sparse_weights="off")
        assert (len(program.constants) < len(dense.constants)) == masked
        feeds = {name: x[:1] for name, x in batch(graph, 1, n=2).items()}
        want = reference.run(graph, feeds)
        found, _ = run_m4(program, tmp_path, feeds)
        np.testing.assert_array_equal(found[0], want[program.outputs[0].name])
        host = run_host(program, tmp_path, feeds)
        np.testing.assert_array_equal(host[0], want[program.outputs[0].name])
