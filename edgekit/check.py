"""Which nodes of a model a target can run, before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit import importers
from edgekit.devices.find import find_target
from edgekit.graph import Graph
from targets import Target


@dataclass(frozen=True)
class Finding:
    """What `check` says of one node; an empty `kernel` means that it cannot run."""

    node: str
    op: str
    kernel: str
    reason: str


def check(
    model: Path, *, target: str = "cortex-m4", bind: dict[str, int] | None = None
) -> list[Finding]:
    """Every node of a model with the kernel family that would run it on `target`.

    Where the importer does not know operators, only those are listed.
    """
    from codegen.choose import options
    from codegen.kernel import NotApplicable
    from codegen.liveness import VIEWS
    from codegen.lower import layer_of, reduced
    from codegen.npu.rules import WAYS
    from codegen.templates import families_of

    chosen = find_target(target)
    unknown = importers.unsupported(Path(model), bind=bind)
    if unknown:
        return [Finding(u.node, u.op, "", u.reason) for u in unknown]
    graph, found = reduced(importers.load(Path(model), bind=bind))
    taken, reasons = _accelerated(graph, chosen)
    findings = []
    for step, node in enumerate(graph.nodes):
        name = node.name or node.output
        available = [f for f in chosen.families if f in families_of(node.op)]
        if node.op in VIEWS:
            findings.append(Finding(name, node.op, "none needed", ""))
        elif step in taken:
            findings.append(Finding(name, node.op, NPU, ""))
        elif graph.values[node.output].quant is None:
            # A float graph: which form of the operator applies is known after quantization.
            if chosen.accelerator and node.op in WAYS:
                available.insert(0, NPU)
            reason = "" if available else "no kernel in " + ", ".join(chosen.families)
            findings.append(Finding(name, node.op, available[0] if available else "", reason))
        else:
            try:
                best = options(layer_of(graph, node, found), chosen)[0]
                said = "; ".join(filter(None, [best.slower, reasons.get(step, "")]))
                findings.append(Finding(name, node.op, best.candidate.spec.family, said))
            except NotApplicable as why:
                findings.append(Finding(name, node.op, "", str(why)))
    return findings


#: The family of layers that an accelerator does.
NPU = "npu"


def _accelerated(graph: Graph, target: Target) -> tuple[set[int], dict[int, str]]:
    """Nodes that the target's accelerator does, and why others are not among them."""
    from codegen.lower import layer_of
    from codegen.npu.partition import partition

    accelerator = target.accelerator
    if accelerator is None or any(graph.values[n.output].quant is None for n in graph.nodes):
        return set(), {}
    found = partition(graph, lambda node: layer_of(graph, node), accelerator)
    return {step for run in found.runs for step in run.steps}, found.reasons
