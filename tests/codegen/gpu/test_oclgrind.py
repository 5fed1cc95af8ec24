"""Every variant in Oclgrind: no race, no invalid access, nothing unset, and the right bytes.

Seeded defects are found too: what finds nothing has looked at nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from gpu_small import float_layers, integer_layers, layers, operands
from pace import thinned
from tools import need

from codegen.gpu import oclgrind
from codegen.gpu.kernel import Variant
from codegen.gpu.layers import variants
from codegen.gpu.sources import prelude
from codegen.kernel import Layer
from edgekit.graph import Graph

#: One of each maker in the quick suite.
QUICK = (
    *("conv2d 3x3", "depthwise_conv2d 3x3", "average_pool2d whole", "softmax", "unary"),
    *("concat channels", "pad", "add by channel", "conv2d 1x1 fp32", "softmax row fp16"),
)
#: Half may be rounded the other way; `HALF` of a tensor's largest.
HALF = 1 / 64
NAMES = [
    *integer_layers(),
    *(f"{name} {precision}" for name in float_layers() for precision in ("fp32", "fp16")),
]


@cache
def small() -> dict[str, tuple[Graph, Layer]]:
    return {name: (graph, layer) for name, graph, layer in layers()}


def found_by(variant: Variant, name: str, folder: Path) -> tuple[tuple[str, ...], int]:
    """Oclgrind's findings, and how many elements of the result, gap included, are wrong."""
    need(oclgrind.COMMAND)
    graph, layer = small()[name]
    inputs, want = operands(graph, layer)
    checked = oclgrind.check(variant, prelude(), inputs, [want.nbytes], folder)
    got = checked.outputs[0].view(want.dtype)
    if want.dtype != np.float16:
        return checked.findings, int((got != want).sum())
    reals = (a.astype(np.float32) for a in (got, want))
    close = np.isclose(*reals, rtol=0, atol=HALF * float(np.abs(want).max()))
    return checked.findings, int((~close).sum())


@pytest.mark.parametrize("name", thinned(NAMES, lambda name: name in QUICK))
def test_every_variant_is_clean(name: str, tmp_path: Path) -> None:
    for variant in variants(small()[name][1]):
        assert found_by(variant, name, tmp_path) == ((), 0), variant.name


@pytest.mark.slow
def test_all_variants_of_the_docs_are_checked() -> None:
    """docs/GPU.md, "Which variants there are": the same as the small layers have."""
    text = (Path(__file__).parents[3] / "docs" / "GPU.md").read_text()
    table = text.split("### Which variants there are")[1].split("\n## ")[0]
    documented: set[tuple[str, str]] = set()
    operators: list[str] = []
    for first, names in re.findall(r"^\|(?!---)([^|]*)\|([^|]*)\|$", table, re.MULTILINE):
        # A row without operators goes on with those above.
        operators = re.findall(r"`(\w+)`", first) or operators
        documented |= {(op, name) for op in operators for name in re.findall(r"`(\w+)`", names)}
    checked = {(layer.node.op, v.name) for _, layer in small().values() for v in variants(layer)}
    # Operators that only move elements share one maker.
    moves = {"concat_rows", "slice_rows", "tile", "expand", "pixel_shuffle", "copy"}
    assert {(op, v) for op, v in documented if op not in moves} >= checked
    assert {v for _, v in documented} == {v for _, v in checked}


# ---- seeded defects

Change = Callable[[str], str]


def once(pattern: str, by: str) -> Change:
    """Replace the first match, which must be there."""

    def change(text: str) -> str:
        changed, count = re.subn(pattern, by, text, count=1, flags=re.DOTALL)
        assert count == 1, pattern
        return changed

    return change


#: What is broken, in which layer's which variant, how, and what must be said of it.
DEFECTS: dict[str, tuple[str, str, Change, str]] = {
    "missing barrier": (
        "average_pool2d whole", "local", once(r"barrier\(CLK_LOCAL_MEM_FENCE\);", ""),
        "data race at local memory",
    ),
    "one item does what each should": (
        "average_pool2d whole", "local", once(r"part_shared\[local_x\]", "part_shared[0]"),
        "data race at local memory",
    ),
    "bound of items too large by one": (
        "add by channel", "direct", once(r"global_x >= (\d+)\)", r"global_x > \1)"),
        "Invalid write",
    ),
    "row of a window too many": (
        "max_pool2d", "direct", once(r"< 2; \+\+ax2", "< 3; ++ax2"), "Invalid read",
    ),
    "accumulator not set": (
        "conv2d 3x3", "direct", once(r"acc_local0 = \(int4\)\(0\);", ""), "ninitialized",
    ),
    "local memory not written": (
        "max_pool2d whole", "local", once(r"part_shared\[local_x\] = [^;]*;", ""), "ninitialized",
    ),
    "write beyond the end": (
        "softmax", "direct", once(r"\ny\[|    y\[", "    y[1000 + "), "Invalid write",
    ),
    "all items write one block": (
        "unary", "direct", once(r"    y\[[^\]]*\]", "    y[0]"), "data race at global memory",
    ),
}  # fmt: skip


@pytest.mark.parametrize("defect", DEFECTS)
def test_seeded_defects_are_found(defect: str, tmp_path: Path) -> None:
    name, variant, change, said = DEFECTS[defect]
    broken = seeded(name, variant, change)
    findings, _ = found_by(broken, name, tmp_path)
    assert any(said in finding for finding in findings), findings


LARGE = [name for name, (*_, said) in DEFECTS.items() if said != "ninitialized"]


@pytest.mark.parametrize(
    "defect", thinned(LARGE, {"missing barrier", "write beyond the end"}.__contains__)
)
def test_seeded_defects_are_found_as_in_large_layers(defect: str, tmp_path: Path) -> None:
    """In optimized text, and only the first and the last group of a launch."""
    need(oclgrind.COMMAND)
    name, variant, change, said = DEFECTS[defect]
    inputs, want = operands(*small()[name])
    for broken in (False, True):
        made = seeded(name, variant, change if broken else lambda text: text)
        found = oclgrind.check_ends(
            made, made.launches[0], prelude(), inputs, [want.nbytes], tmp_path
        )
        assert any(said in finding for finding in found) == broken, found
        assert broken or not found


@pytest.mark.slow
def test_memory_that_is_not_set_is_found_in_large_layers(tmp_path: Path) -> None:
    need(oclgrind.COMMAND)
    name, variant, change, said = DEFECTS["accumulator not set"]
    inputs, want = operands(*small()[name])
    made = seeded(name, variant, change)
    arguments = (made, made.launches[0], prelude(), inputs, [want.nbytes], tmp_path)
    assert any(said in finding for finding in oclgrind.check_ends(*arguments, unset=True))
    assert oclgrind.check_ends(*arguments) == ()


def test_a_gap_that_is_not_zero_is_found(tmp_path: Path) -> None:
    """Oclgrind has nothing against it: it is the comparison that covers gaps."""
    broken = seeded("add by channel", "direct", once(r"ek_lanes4\((.*), 5 - [^)]*\);", r"\1;"))
    findings, wrong = found_by(broken, "add by channel", tmp_path)
    assert findings == () and wrong > 0


def test_text_that_does_not_compile_is_said(tmp_path: Path) -> None:
    broken = seeded("unary", "direct", once(r"char4", "char5"))
    with pytest.raises(oclgrind.OclgrindError, match="char5"):
        found_by(broken, "unary", tmp_path)


def seeded(name: str, variant: str, change: Change) -> Variant:
    """A variant of a small layer with its first function's text changed."""
    sound = next(v for v in variants(small()[name][1]) if v.name == variant)
    first, *others = sound.launches
    function = replace(first.function, text=change(first.function.text))
    return replace(sound, launches=(replace(first, function=function), *others))
