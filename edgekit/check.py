"""Which nodes of a model a target can run, before anything is compiled."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgekit import importers
from edgekit.devices.find import find_target


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
    from codegen.templates import families_of

    chosen = find_target(target)
    unknown = importers.unsupported(Path(model), bind=bind)
    if unknown:
        return [Finding(u.node, u.op, "", u.reason) for u in unknown]
    graph, found = reduced(importers.load(Path(model), bind=bind))
    findings = []
    for node in graph.nodes:
        name = node.name or node.output
        available = [f for f in chosen.families if f in families_of(node.op)]
        if node.op in VIEWS:
            findings.append(Finding(name, node.op, "none needed", ""))
        elif graph.values[node.output].quant is None:
            # A float graph: which form of the operator applies is known after quantization.
            reason = "" if available else "no kernel in " + ", ".join(chosen.families)
            findings.append(Finding(name, node.op, available[0] if available else "", reason))
        else:
            try:
                best = options(layer_of(graph, node, found), chosen)[0]
                findings.append(Finding(name, node.op, best.candidate.spec.family, best.slower))
            except NotApplicable as why:
                findings.append(Finding(name, node.op, "", str(why)))
    return findings
