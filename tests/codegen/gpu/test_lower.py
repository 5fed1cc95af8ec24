"""Whole random networks for a GPU: the device's memory plan, reshapes, fallbacks, and the bytes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from gpu_device import device
from gpu_program import Run
from graphs import batch
from pace import thinned

from codegen.gpu.program import ALIGN, ARENA, CONSTANTS, GpuProgram
from codegen.liveness import Liveness
from edgekit import reference
from edgekit.graph import Graph, Quant

from ..npu.models import Net, conv, dense, flat, random_model


def check(graph: Graph, seed: int = 0) -> Run:
    run = Run(graph, device())
    check_plan(run)
    for one in range(2):
        feeds = {name: x[:1] for name, x in batch(graph, seed + one, n=2).items()}
        want = reference.run(graph, feeds)
        for name, found in zip(graph.outputs, run.outputs(feeds), strict=True):
            np.testing.assert_array_equal(found, want[name])
    run.all_variants(feeds)
    return run


def check_plan(run: Run) -> None:
    """Places are aligned and inside; what is alive at one step lies apart."""
    gpu: GpuProgram = run.gpu
    alive = Liveness(run.graph)
    roots = list(alive.first)
    assert len(gpu.tensors) == len(roots)
    for (i, a), (j, b) in combinations(enumerate(roots), 2):
        if alive.first[a] <= alive.last[b] and alive.first[b] <= alive.last[a]:
            one, other = gpu.tensors[i], gpu.tensors[j]
            assert apart(one.offset, one.nbytes, other.offset, other.nbytes), (a, b)
    sizes = {ARENA: gpu.arena_bytes, CONSTANTS: len(gpu.constants)}
    for step, layer in zip(run.program.steps, gpu.layers, strict=True):
        there = [gpu.tensors[i] for i, r in enumerate(roots) if alive.alive(r, step)]
        own = {gpu.tensors[i].offset for i in (*layer.inputs, *layer.outputs)}
        for variant in layer.variants:
            for a in (a for launch in variant.launches for a in launch.arguments):
                assert a.offset % ALIGN == 0 and a.offset + a.nbytes <= sizes[a.space]
                if a.space == ARENA and a.offset not in own:  # scratch
                    assert all(apart(a.offset, a.nbytes, t.offset, t.nbytes) for t in there)


def apart(a: int, a_bytes: int, b: int, b_bytes: int) -> bool:
    return a + a_bytes <= b or b + b_bytes <= a


@pytest.mark.parametrize("seed", thinned(range(6), lambda seed: seed == 1))
def test_random_models(seed: int) -> None:
    """Branches, odd sizes, every kind of window."""
    check(random_model(seed, most=12), seed)


def test_reshapes_move_elements() -> None:
    """Between layers, and as the model's output, where they stay views."""
    net = Net(0, "reshaped")
    x = conv(net, net.input(1, 6, 5, 6))
    _, height, width, channels = net.shape(x)
    quant = net.graph.values[x].quant
    shape = (1, channels, height, width)
    x = net.node("reshape", (x,), shape, quant, shape=list(shape))
    x = conv(net, x)
    pixels = int(np.prod(net.shape(x)[1:-1]))
    last = (1, net.shape(x)[-1], pixels)
    out = net.node("reshape", (x,), last, net.graph.values[x].quant, shape=list(last))
    run = check(net.done(out))
    first, second = run.gpu.layers
    assert not first.why_not and not second.why_not
    # The second layer's variants begin with the move.
    moves = {v.launches[0].function.name for v in second.variants}
    assert len(moves) == 1 and moves.pop().startswith("ek_move_")
    assert all(len(v.launches) > 1 for v in second.variants)


def test_fully_connected_reads_images_as_they_lie() -> None:
    """With gaps in the last block of channels: nothing moves, and no sum reads a gap."""
    net = Net(1, "flattened")
    x = conv(net, net.input(1, 7, 5, 3))
    run = check(net.done(dense(net, flat(net, x))))
    (last,) = run.gpu.layers[1:]
    assert {v.name for v in last.variants} >= {"direct", "direct_dot"}
    assert all(len(v.launches) == 1 for v in last.variants)


def test_layers_without_a_variant_say_why() -> None:
    net = Net(2, "int16")
    x = net.input(1, 4, 4, 3)
    wide = net.node("clip", (x,), net.shape(x), net.quant(), clamp=[0, None], out_dtype="int16")
    graph = net.graph
    graph.values[wide] = replace(graph.values[wide], dtype="int16", quant=Quant.make(0.001, 0))
    run = check(net.done(wide))
    (layer,) = run.gpu.layers
    assert not layer.variants and "int16" in layer.why_not
