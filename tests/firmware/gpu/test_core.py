"""The GPU runtime's core under sanitizers, on a device that does as it is told."""

from __future__ import annotations

import random
import re
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from bundles import reseal
from gpu_bundles import WITH_GPU, WRONG
from gpu_core import BUNDLE, GPU, HALF, Run, program, right, sample, timed

from codegen.gpu.layout import blocked, pack
from edgekit.bundle import write_bundle
from edgekit.bundle.model import FOOTER_BYTES

pytestmark = pytest.mark.apt


def test_all_layers_on_the_device(run: Run) -> None:
    found = run()
    assert (found.said, found.layers, found.exact) == ([], ["fast", "exact"], True)
    assert [(status, n) for status, _, n, _ in found.runs] == [(0, 2)] * 3
    # Two samples of two layers, two whole inferences, and one more each.
    assert [launches for *_, launches in found.runs] == [10, 12, 14]


def test_memory_that_is_not_shared(run: Run) -> None:
    assert run("discrete").exact


def test_times_of_layers_come_from_events(run: Run) -> None:
    assert "time 1000" in run(timed=True).text


def test_no_device(run: Run) -> None:
    found = run("none")
    assert found.exact and found.layers == ["CPU: no device"] * 2
    assert found.statuses == [0, 0, 0]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("nomemory", "the device refuses the memory that the model needs: the CPU computes"),
        ("nobuild", "the device builds nothing: the CPU computes"),
    ],
)
def test_a_device_that_can_do_nothing(run: Run, script: str, said: str) -> None:
    found = run(script)
    assert found.exact and found.said == [said] and found.runs[0][2] == 0


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("uncompiled=one(w)", "did not compile"),
        ("wrong=one(w)", "1 bytes differ"),
        ("lazy=one(w)", "16 bytes differ"),
        ("gap=one(w)", "1 bytes differ"),
        ("refuse=1", "the device refuses to run it"),
        ("limit=1", "the device refuses to run it"),
    ],
)
def test_the_next_variant_is_taken(run: Run, script: str, why: str) -> None:
    found = run(script)
    assert found.exact and found.statuses == [0, 0, 0]
    if "=1" in script:
        assert found.layers[0] == f"CPU; fast: {why}; exact: {why}"
        assert found.runs[0][2] == 0
    else:
        assert found.layers == [f"exact; fast: {why}", "exact"]
    assert found.said[0].startswith("layer 0, fast: ")
    assert found.runs[0][2] in (0, 2)


@pytest.mark.parametrize("script", ["wrong=(w)", "uncompiled=(w)", "lazy=(w)", "gap=(w)"])
def test_nothing_right_leaves_all_to_the_cpu(run: Run, script: str) -> None:
    found = run(script)
    assert found.exact and found.runs[0][2] == 0 and len(found.said) == 3
    assert all(layer.startswith("CPU; ") for layer in found.layers)


def test_the_compilers_words_are_told(run: Run) -> None:
    assert "error: no such thing" in run("uncompiled=one(w)").said[0]


@pytest.mark.parametrize("script", ["refuse=4", "limit=4"])
def test_smaller_groups_where_the_device_refuses_larger(run: Run, script: str) -> None:
    found = run(script)  # the third size has 2 items; the second layer has 8 only
    assert found.exact and found.layers[0] == "fast"
    assert found.layers[1] == "CPU; exact: the device refuses to run it"


def test_features_that_are_needed(run: Run) -> None:
    needy = replace(GPU, variants=(GPU.variants[0]._replace(needs=1), *GPU.variants[1:]))
    bundle = replace(BUNDLE, gpu=needy)
    assert run(bundle=bundle).layers[0] == "exact; fast: needs the dot product"
    assert run("features=1", bundle=bundle).layers[0] == "fast"


def test_a_layer_of_the_cpu_amid_those_of_the_device(run: Run) -> None:
    for script in ("", "discrete"):
        found = run(script, bundle=HALF)
        assert found.exact and found.layers == ["fast", "CPU: no kernel for it"]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", {(0, 0, 0): (1, 0, 1000), (0, 1, 2): (1, 0, 1000), (1, 0, 0): (1, 0, 1000)}),
        ("discrete wrong=one(w)", {(0, 0, 0): (5, 1, 0), (0, 1, 2): (1, 0, 1000)}),
        ("refuse=8", {(0, 0, 1): (4, 0, 0), (0, 0, 0): (1, 0, 1000)}),
        ("uncompiled=one(w)", {(0, 0, 0): (3, 0, 0), (0, 1, 0): (1, 0, 1000)}),
    ],
)
def test_times_of_variants(
    run: Run, script: str, expected: dict[tuple[int, int, int], tuple[int, int, int]]
) -> None:
    found = run(script, timed=True)
    there = timed(found)
    assert {key: there[key] for key in expected} == expected
    # Layers, variants and sizes that there are not.
    assert all(there[key] == (4, 0, 0) for key in [(2, 0, 0), (0, 2, 0), (0, 1, 3), (1, 0, 1)])
    assert found.text.split("again 0 ")[1].startswith(right(sample(10)).hex())


def test_no_section(run: Run) -> None:
    assert run(bundle=replace(BUNDLE, gpu=None)).text == "section 11\n"


def test_every_rule_of_the_host_is_one_of_the_runtime(run: Run) -> None:
    for gpu, _ in WRONG:
        text = run(bundle=replace(WITH_GPU, gpu=gpu)).text
        assert re.fullmatch(r"section [56]\n", text), (gpu, text)


@pytest.mark.parametrize("seed", range(6))
def test_damage_under_a_right_checksum(run: Run, seed: int) -> None:
    """Whatever is in the section: refused, or right bytes where the CPU's part is whole."""
    good = write_bundle(BUNDLE)
    chance = random.Random(seed)
    for _ in range(25):
        at = chance.randrange(2, (len(good) - FOOTER_BYTES) // 4) * 4
        word = chance.choice([0, 1, 4, 128, 2**31, 2**32 - 1, chance.randrange(2**32)])
        run(bundle=reseal(good[:at] + word.to_bytes(4, "little") + good[at + 4 :]))


@pytest.mark.parametrize(("pixels", "channels"), [(1, 1), (6, 3), (5, 4), (7, 9), (1, 640)])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_pack_and_unpack(pixels: int, channels: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(-100, 100, (pixels, channels)).astype(dtype)
    command = [program(), "layout", "0", str(pixels), str(channels), str(x.itemsize)]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    assert done.stdout == pack(x, blocked(x.shape, dtype)).tobytes() + x.tobytes()


def test_halves() -> None:
    """Every float16, and float32 between them, as numpy rounds."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    chance = np.random.default_rng(1)
    bits = chance.integers(0, 2**32, 2**16, dtype=np.uint32).view(np.float32)
    small = (chance.normal(size=2**16) * 10.0 ** chance.integers(-9, 6, 2**16)).astype(np.float32)
    ties = (halves.astype(np.float32).view(np.uint32) | 0x1000).view(np.float32)
    x = np.concatenate([halves.astype(np.float32), bits, small, ties])
    x = x[~np.isnan(x)]
    x = x[: len(x) // 4 * 4]
    command = [program(), "layout", "1", "1", str(len(x)), "2"]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    assert done.stdout == want.tobytes() + want.astype(np.float32).tobytes()
