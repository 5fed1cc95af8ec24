"""What models may consist of: canonical operators, and the operators of files that become them.

`edgekit ops` prints these tables and docs/OPERATORS.md holds them. Every sentence is the docstring
of the function that decides: a rule of an operator, or the handler of an importer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit import importers
from edgekit.check import NPU
from edgekit.ops import operators
from edgekit.ops.base import sentence


@dataclass(frozen=True)
class Entry:
    """One operator: what it is or accepts, its rules as sentences, its kernel families."""

    name: str
    meaning: str
    rules: tuple[str, ...] = ()
    families: tuple[str, ...] = ()


def canonical(families: Sequence[str] | None = None) -> list[Entry]:
    """The operators of canonical graphs, with the kernel families among `families` (None: all)."""
    from codegen.liveness import VIEWS
    from codegen.npu.rules import WAYS
    from codegen.templates import families_of

    found = []
    for name, op in operators().items():
        kernels = tuple(f for f in families_of(name) if families is None or f in families)
        if name in WAYS and (families is None or NPU in families):
            kernels = (NPU, *kernels)
        kernels = ("none needed",) if name in VIEWS else kernels
        found.append(Entry(name, op.summary, tuple(map(sentence, op.rules)), kernels))
    return found


def of_files(kind: str) -> list[Entry]:
    """What the importer of "onnx" or "tflite" files takes, by the format's own names."""
    handlers = importers.handlers(kind)
    return [Entry(name, sentence(handlers[name])) for name in sorted(handlers)]


def markdown() -> str:
    """docs/OPERATORS.md."""
    from codegen.npu.rules import common, table

    onnx, tflite, ours = of_files("onnx"), of_files("tflite"), canonical()
    lines = [
        "# Operators",
        "",
        "`edgekit ops --markdown docs/OPERATORS.md` writes this page from the code. `edgekit check "
        "MODEL` applies the same rules to a model and lists every node that breaks one.",
        "",
        f"## ONNX: {len(onnx)} operators",
        "Of the default domain and of ONNX Runtime's quantized one, opset 7 to the newest. What "
        "they compute becomes the canonical operators below.",
        "",
        *_table(("operator", "what is accepted"), [(e.name, e.meaning) for e in onnx]),
        "",
        f"## TFLite: {len(tflite)} operators",
        "Float models, and quantized ones byte for byte as TFLite Micro computes them.",
        "",
        *_table(("operator", "what is accepted"), [(e.name, e.meaning) for e in tflite]),
        "",
        f"## Canonical operators: {len(ours)}",
        "What graphs consist of once they are imported. Rules are checked for every node; integer "
        "meaning is in [SPEC](SPEC.md).",
        "",
        *_table(
            ("operator", "meaning", "rules", "kernels"),
            [(e.name, e.meaning, " ".join(f"{r}." for r in e.rules), ", ".join(e.families))
             for e in ours],
        ),
        "",
        "## The accelerator",
        "What targets with an accelerator do not leave to the CPU ([ACCELERATOR](ACCELERATOR.md)); "
        "reports give the rule that a layer of the CPU breaks. For every layer: "
        + " ".join(f"{rule}." for rule in common()),
        "",
        *_table(("operators", "command", "rules besides those"), table()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    return [line(head), line(["---"] * len(head)), *map(line, rows)]
