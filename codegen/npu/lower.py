"""The accelerator's part of a Program: which nodes it takes, their buffers and their calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from codegen import memory
from codegen.kernel import Candidate, Kernel, KernelSpec, Layer, Operand
from codegen.npu.compile import Compiled, TooManyCommands, compile_run
from codegen.npu.job import WindowJob
from codegen.npu.kernels import FAMILY, begin, wait
from codegen.npu.partition import Partition, Run, partition, split
from codegen.program import Argument, Call
from edgekit.graph import Graph, Node
from edgekit.ops.base import node_macs
from targets.npu.config import Accelerator

Pack = Callable[[np.ndarray], int]


class Accelerated:
    """The runs of `graph` that `accelerator` does; none where that is None."""

    def __init__(
        self, graph: Graph, layer: Callable[[Node], Layer], accelerator: Accelerator | None
    ) -> None:
        self.graph, self.accelerator = graph, accelerator
        found = partition(graph, layer, accelerator) if accelerator else Partition((), {})
        self._reasons = found.reasons
        self.compiled: list[Compiled] = []
        if accelerator:
            self.compiled = [c for run in found.runs for c in self._compiled(run, accelerator)]
        self.steps = {step for run in self.runs for step in run.steps}

    @property
    def runs(self) -> list[Run]:
        return [compiled.run for compiled in self.compiled]

    def _compiled(self, run: Run, a: Accelerator) -> list[Compiled]:
        """One stream, or several where `after` could not count the commands of one."""
        try:
            return [compile_run(run, a)]
        except TooManyCommands:
            return [c for part in split(self.graph, run) for c in self._compiled(part, a)]

    def reason(self, step: int) -> str:
        """Why a node is the CPU's, for the report; "" without an accelerator."""
        found = self._reasons.get(step, "")
        return f"on the CPU: {found[0].lower()}{found[1:]}" if found else ""

    @property
    def candidates(self) -> dict[int, Candidate]:
        """By the first step of each run: nothing that it writes may lie over what it reads."""
        found = {}
        for run in self.runs:
            operands = tuple(Operand(v, "int8", 1, "input") for v in run.inputs)
            spec = KernelSpec("npu_run", FAMILY, operands, {})
            for step in (run.steps[0], run.steps[-1]):
                found[step] = Candidate(spec, run.inputs, {})
        return found

    @property
    def scratch_buffers(self) -> list[memory.Buffer]:
        return [
            memory.Buffer(
                scratch_of(c.run.steps[0]), c.scratch_bytes, c.run.steps[0], c.run.steps[-1]
            )
            for c in self.compiled
            if c.scratch_bytes
        ]

    def calls(
        self, offset: Callable[[str], int], places: Mapping[str, int], pack: Pack
    ) -> dict[int, Call]:
        """Calls by step. `offset` is where a value lies in the arena, `places` where a buffer
        does."""
        found: dict[int, Call] = {}
        waiting = wait()
        for compiled in self.compiled:
            assert self.accelerator is not None
            run, kernel = compiled.run, begin(compiled, self.accelerator)
            spilled = sorted(compiled.placement.spilled)
            for number, step in enumerate(run.steps):
                if number == 0:
                    arguments = self._arguments(compiled, kernel, offset, places, pack)
                    found[step] = self._call(compiled, 0, kernel, arguments, spilled)
                else:
                    counts = np.array(compiled.waits[number], np.int32)
                    arguments = [Argument("constant", pack(counts), counts.nbytes)]
                    found[step] = self._call(compiled, number, waiting, arguments, spilled)
        return found

    def _arguments(
        self,
        compiled: Compiled,
        kernel: Kernel,
        offset: Callable[[str], int],
        places: Mapping[str, int],
        pack: Pack,
    ) -> list[Argument]:
        values = iter((*compiled.run.inputs, *compiled.run.outputs))
        data = iter((compiled.words.view(np.int32), np.frombuffer(compiled.constants, np.uint8)))
        found = []
        for operand in kernel.spec.operands:
            if operand.role == "constant":
                found.append(Argument("constant", pack(next(data)), operand.nbytes))
            else:
                value = next(values)
                found.append(Argument(operand.role, offset(value), operand.nbytes, value))
        if kernel.scratch_bytes:
            at = places[scratch_of(compiled.run.steps[0])]
            found.append(Argument("scratch", at, kernel.scratch_bytes))
        return found

    def _call(
        self,
        compiled: Compiled,
        number: int,
        kernel: Kernel,
        arguments: list[Argument],
        spilled: list[str],
    ) -> Call:
        step, job = compiled.run.steps[number], compiled.run.jobs[number]
        node = self.graph.nodes[step]
        values = [self.graph.values[i] for i in node.inputs]
        rows = compiled.placement.tiles[number].rows
        notes = []
        if rows < job.result.height:
            notes.append(f"in stripes of {rows} of {job.result.height} rows")
        if job.y in spilled:
            notes.append("result put aside in RAM")
        command = job.window.opcode.name if isinstance(job, WindowJob) else "ADD"
        return Call(
            layer=node.name or node.output,
            op=node.op,
            kernel=kernel,
            arguments=tuple(arguments),
            in_place=False,
            overlap=None,
            input_shapes=tuple(v.shape for v in values if v.name not in self.graph.constants),
            output_shape=self.graph.values[node.output].shape,
            macs=node_macs(self.graph, node),
            note="; ".join(notes),
            variant=command.lower(),
            own_constants=compiled.constant_bytes[number]
            + sum(o.nbytes for o in kernel.spec.operands if o.name in ("stream", "counts")),
        )


def scratch_of(step: int) -> str:
    return f"scratch of step {step}"
