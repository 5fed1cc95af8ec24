"""Programs run call by call in Python: streams in a simulator, the CPU's layers in the reference.

Places are those of the program's memory plan, so that a plan that is wrong shows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from codegen.lower import arranged
from codegen.npu.kernels import FAMILY
from codegen.program import Call, Program
from codegen.subpixel import as_convolutions
from edgekit.devices.emulators.verilated import Verilated
from edgekit.graph import Graph
from edgekit.ops.base import run_node
from targets.npu.config import Accelerator
from targets.npu.isa import Error
from targets.npu.model import Model

#: Runs a stream on regions of external memory, which it may write.
Simulator = Callable[[np.ndarray, Sequence[np.ndarray]], None]


def in_numpy(config: Accelerator, compute_first: bool = False) -> Simulator:
    """The accelerator in numpy. Its memories hold anything before a stream starts."""

    def run(words: np.ndarray, regions: Sequence[np.ndarray]) -> None:
        model, chance = Model(config), np.random.default_rng(len(words))
        for memory in (model.a, model.w):
            memory[:] = chance.integers(0, 256, memory.shape, np.uint8)
        for table in (model.p, model.t):
            table[:] = chance.integers(-(2**31), 2**31, table.shape)
            # Shifts beyond 31 are no parameters.
        model.p[:, 2] = 0
        model.run(words.tolist(), list(regions), compute_first=compute_first)

    return run


def in_hardware(hardware: Verilated) -> Simulator:
    """The accelerator's Verilog. Its memories hold what the stream before left."""

    def run(words: np.ndarray, regions: Sequence[np.ndarray]) -> None:
        found = hardware.run(words.tolist(), [r.tobytes() for r in regions])
        assert found.error is Error.NONE and found.untouched and not hardware.broken
        for region, after in zip(regions, found.regions, strict=True):
            if region.flags.writeable:
                region[:] = np.frombuffer(after, np.uint8)
            else:
                assert region.tobytes() == after

    return run


def run_program(
    program: Program,
    graph: Graph,
    feeds: dict[str, np.ndarray],
    config: Accelerator,
    simulate: Simulator,
) -> list[np.ndarray]:
    """The outputs of one inference; `graph` and `config` are what the program was built from."""
    smaller, _ = arranged(as_convolutions(graph), config)
    arena = np.zeros(max(program.arena_bytes, 1), np.uint8)
    arena[:] = 0x55
    for tensor in program.inputs:
        raw = np.frombuffer(feeds[tensor.name].tobytes(), np.uint8)
        arena[tensor.offset : tensor.offset + tensor.nbytes] = raw
    for step, call in zip(program.steps, program.calls, strict=True):
        if call.kernel.spec.op == "npu_run":
            _start(program, call, arena, simulate)
        elif call.kernel.spec.family != FAMILY:
            _on_cpu(smaller, step, call, arena)
    return [
        arena[t.offset : t.offset + t.nbytes].copy().view(t.dtype).reshape(t.shape)
        for t in program.outputs
    ]


def _start(program: Program, call: Call, arena: np.ndarray, simulate: Simulator) -> None:
    constants = np.frombuffer(program.constants, np.uint8)
    regions = []
    for argument in call.arguments:
        memory = arena if argument.in_arena else constants
        regions.append(memory[argument.offset : argument.offset + argument.nbytes])
    simulate(regions[0].view(np.uint32), regions[1:])


def _on_cpu(graph: Graph, step: int, call: Call, arena: np.ndarray) -> None:
    node = graph.nodes[step]
    at = {a.value: a.offset for a in call.arguments if a.role in ("input", "output")}

    def read(name: str) -> np.ndarray:
        value = graph.values[name]
        if name in graph.constants:
            return graph.constants[name]
        raw = arena[at[name] : at[name] + value.nbytes]
        return raw.copy().view(value.dtype).reshape(value.shape)

    for name, data in zip(
        node.outputs, run_node(graph, node, [*map(read, node.inputs)]), strict=True
    ):
        raw = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        arena[at[name] : at[name] + raw.size] = raw
