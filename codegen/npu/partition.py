"""Which nodes of an integer graph run on the accelerator, and what goes in and out of each run.

Consecutive nodes that the accelerator does are one run: one command stream. Values between them
stay in its memory. A reshape between two of them is another view of the same image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from codegen.kernel import Layer
from codegen.liveness import VIEWS, Liveness
from codegen.npu.job import Image, Job, image_of
from codegen.npu.rules import decide
from edgekit.graph import Graph, Node
from targets.npu.config import REGIONS, Accelerator

#: Operators that need their operand as rows and columns of pixels.
WINDOWS = ("conv2d", "depthwise_conv2d", "average_pool2d", "max_pool2d", "reduce")
#: Why a layer is the CPU's whatever it computes.
MAKES_STATE = "what a state holds next is written by the CPU"


@dataclass(frozen=True)
class Run:
    """Jobs that one command stream does. `steps` are their nodes' places in the graph; `images`
    say how values lie in the accelerator; `inputs` and `outputs` are values of the graph; `roots`
    maps what the run makes, and views of that, to what was made."""

    steps: tuple[int, ...]
    jobs: tuple[Job, ...]
    images: dict[str, Image]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    roots: dict[str, str]

    @property
    def inside(self) -> tuple[str, ...]:
        """Values that only the run knows."""
        return tuple(j.y for j in self.jobs if j.y not in self.outputs)


@dataclass(frozen=True)
class Partition:
    """The runs, and for nodes of the CPU why they are not the accelerator's."""

    runs: tuple[Run, ...]
    reasons: dict[int, str]


@dataclass
class _Open:
    """A run that grows. `roots` maps the run's values to those that they are views of."""

    steps: list[int] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)
    images: dict[str, Image] = field(default_factory=dict)
    roots: dict[str, str] = field(default_factory=dict)


def partition(graph: Graph, layer: Callable[[Node], Layer], a: Accelerator) -> Partition:
    """Runs of `graph`, whose nodes are in the order of execution."""
    reasons: dict[int, str] = {}
    closed: list[_Open] = []
    run = _Open()
    alive = Liveness(graph)
    states = {state.name for state in graph.states}

    def close() -> _Open:
        if run.jobs:
            closed.append(run)
        return _Open()

    for step, node in enumerate(graph.nodes):
        if node.op in VIEWS:
            inside = [name for name in node.inputs if name in run.roots]
            if inside and node.op in ("reshape", "rescale"):
                run.roots[node.output] = run.roots[inside[0]]
            elif inside:
                run = close()
            continue
        job = _job(layer(node), run, a)
        if isinstance(job, str) and any(name in run.roots for name in node.inputs):
            # Perhaps only what lies in the memory already is in the way.
            again = _job(layer(node), _Open(), a)
            if not isinstance(again, str):
                run, job = close(), again
        if not isinstance(job, str) and alive.place(node.output)[0] in states:
            job = MAKES_STATE
        if isinstance(job, str):
            reasons[step] = job
            run = close()
            continue
        run.steps.append(step)
        run.jobs.append(job)
        run.roots[job.y] = job.y
        run.images[job.y] = job.result
        for value in job.reads:
            run.images.setdefault(value, job.image_of(value))
    close()
    runs = [part for found in closed for part in _within_regions(graph, found)]
    return Partition(tuple(runs), reasons)


def grouped(graph: Graph, layer: Callable[[Node], Layer], a: Accelerator) -> Graph:
    """`graph` with its nodes in an order that makes fewer runs, the same one where there is none.

    Layers of the CPU wait until the accelerator can do no more without them, and the reverse: heads
    of a network with a softmax each share one run.
    """
    before = partition(graph, layer, a)
    if len(before.runs) < 2 or graph.states:  # a state's old content is read before the new one
        return graph
    on_cpu = set(before.reasons)
    waits = {name: step for step, node in enumerate(graph.nodes) for name in node.outputs}
    missing = [{waits[i] for i in node.inputs if i in waits} for node in graph.nodes]
    order: dict[int, None] = {}
    left, cpu = list(range(len(graph.nodes))), 0 in on_cpu
    while left:
        ready = (step for step in left if missing[step] <= order.keys())
        mine = (s for s in ready if graph.nodes[s].op in VIEWS or (s in on_cpu) == cpu)
        step = next(mine, None)
        if step is None:
            cpu = not cpu
        else:
            order[step] = None
            left.remove(step)
    changed = graph.copy()
    changed.nodes = [graph.nodes[step] for step in order]
    after = partition(changed.verify(), layer, a)
    return changed if len(after.runs) < len(before.runs) else graph


def _job(layer: Layer, run: _Open, a: Accelerator) -> Job | str:
    """What the accelerator does for `layer` in `run`, with the names of the run's own values."""
    activations = [v for v in layer.inputs if v.name not in layer.constants]
    images = []
    for value in activations:
        shape = image_of(value.shape) if len(value.shape) > 1 else None
        root = run.roots.get(value.name)
        image = shape if root is None else run.images[root]
        if root is not None and shape is not None and image is not None:
            image = shape if shape.channels == image.channels else image
            if layer.node.op in WINDOWS and image != shape:
                return "its operand lies in the accelerator's memory as another image"
        images.append(image)
    job = decide(layer, images[0] if images else None, a)
    if isinstance(job, str):
        return job
    if any(job.image_of(v.name) != i for v, i in zip(activations, images, strict=True)):
        return "its operands lie in the accelerator's memory as different images"
    return job.moved(run.roots)


def split(graph: Graph, run: Run) -> list[Run]:
    """The same jobs as several runs, each with about half of them."""
    middle = len(run.jobs) // 2
    halves = []
    for part in (slice(0, middle), slice(middle, None)):
        jobs = list(run.jobs[part])
        names = {j.y for j in jobs} | {v for j in jobs for v in j.reads}
        roots = {v: root for v, root in run.roots.items() if root in names}
        halves += _within_regions(graph, _Open(list(run.steps[part]), jobs, run.images, roots))
    return halves


def _within_regions(graph: Graph, found: _Open) -> list[Run]:
    """The run, or parts of it where it has more inputs and outputs than there are regions."""
    produced = {job.y for job in found.jobs}
    inputs = list(dict.fromkeys(v for job in found.jobs for v in job.reads if v not in produced))
    own = {id(graph.nodes[step]) for step in found.steps}
    used = set(graph.outputs) | {state.next for state in graph.states}
    for node in graph.nodes:
        view = node.op in ("reshape", "rescale") and node.output in found.roots
        if id(node) not in own and not view:
            used |= set(node.inputs)
    ours = [root for v, root in found.roots.items() if v in used and root in produced]
    outputs = list(dict.fromkeys(ours))
    images = {v: found.images[v] for v in (*inputs, *produced)}
    run = Run(tuple(found.steps), tuple(found.jobs), images, tuple(inputs), tuple(outputs),
              found.roots)  # fmt: skip
    # One region for constants, one for what has no room inside.
    if len(inputs) + len(outputs) + 2 <= REGIONS or len(run.jobs) == 1:
        return [run]
    return split(graph, run)
