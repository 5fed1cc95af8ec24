"""ONNX's backend node tests of every operator that we claim: float results, and integer SQNR.

    python -m benchmarks.onnx_conformance [--operators Conv,Gemm] [--update docs/BENCHMARKS.md]

Float: every case is imported, run by the numpy reference and compared at the test's tolerances
(`benchmarks.onnx_backend`). Integer: the graphs of the cases that passed are quantized on data
drawn from the numbers of the test's inputs, int8 and 16x8, and judged by SQNR against their own
float results. The exit status says whether every case passed or is out of scope.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import tables
from benchmarks.onnx_backend import SCOPE, Result, arrays_of, cases, claimed, judge
from edgekit.errors import EdgekitError
from edgekit.graph import Graph, GraphError
from quantizer import quantize

SAMPLES = 32
#: More says nothing: results that are exact but for the last bit.
MOST_DB = 99.0


@dataclass(frozen=True)
class Quality:
    """SQNR in dB of the worst output of a case with int8 and 16-bit activations.

    `refused` says why it was not quantized.
    """

    int8: float = 0.0
    wide: float = 0.0
    refused: str = ""


def quality(result: Result) -> Quality | None:
    """The integer form of a case that passed; None where there is nothing to quantize."""
    graph = result.graph
    if graph is None or any(v.quant is not None for v in graph.values.values()):
        return None
    if not any(graph.values[o].dtype == "float32" for o in graph.outputs):
        return None
    rng = np.random.default_rng(len(result.case.name))
    data = _drawn(graph, result, rng)
    found = []
    for bits in (8, 16):
        try:
            done = quantize(graph, data, activation_bits=bits, rounding="nearest")
        except (EdgekitError, GraphError, NotImplementedError) as error:
            text = str(error) or type(error).__name__
            return Quality(refused=text.splitlines()[0])
        except Exception as error:  # a fault of ours: shown in the table, the others go on
            return Quality(refused=f"**fault** {type(error).__name__}: {error}")
        real = [o for o in graph.outputs if graph.values[o].dtype == "float32"]
        worst = min(done.sqnr_db.get(o, MOST_DB) for o in real)
        found.append(min(worst, MOST_DB))
    return Quality(found[0], found[1])


def _drawn(graph: Graph, result: Result, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Samples whose numbers are those of the test's inputs in another order."""
    arrays = arrays_of(result.case)
    data = {}
    for name in graph.inputs:
        value = graph.values[name]
        shape = value.shape[1:] if value.shape[:1] == (1,) else value.shape
        numbers = arrays[name].reshape(-1).astype(value.dtype)
        numbers = numbers[np.isfinite(numbers)] if numbers.dtype.kind == "f" else numbers
        data[name] = rng.choice(numbers, (SAMPLES, *shape)).astype(value.dtype)
    return data


def summary(results: Sequence[Result], count: int) -> str:
    """How many operators and cases, and what is out of scope."""
    states = Counter(r.status for r in results)
    rows: list[tuple[tables.Cell, ...]] = [
        ("operators of the default domain claimed", count),
        ("of these with tests", len({r.case.op for r in results})),
        ("cases", len(results)),
        ("passed", states["passed"]),
        ("failed", states["failed"]),
        ("out of scope", states["out of scope"]),
    ]
    kinds = Counter(r.why for r in results if r.status == "out of scope")
    why = {name: _plain(pattern) for name, pattern in SCOPE}
    scope = [(kind, number, why.get(kind, "not a model of tensors of numbers"))
             for kind, number in kinds.most_common()]  # fmt: skip
    return "\n".join(
        (
            tables.table(("ONNX backend node tests", "number"), rows),
            tables.table(("out of scope", "cases", "the importer says"), scope),
        )
    )


def _plain(pattern: str) -> str:
    return pattern.replace("\\d+", "N").replace("\\w*", "").replace("|", " / ")


def integer_table(results: Sequence[Result], found: Sequence[Quality | None]) -> str:
    """Median SQNR by operator, and what was not quantized."""
    by: dict[str, list[Quality]] = defaultdict(list)
    for r, q in zip(results, found, strict=True):
        if q is not None:
            by[r.case.op].append(q)
    rows: list[tuple[tables.Cell, ...]] = []
    for op, qualities in sorted(by.items()):
        done = [q for q in qualities if not q.refused]
        refused = Counter(q.refused for q in qualities if q.refused).most_common(1)
        eight = float(np.median([q.int8 for q in done])) if done else None
        wide = float(np.median([q.wide for q in done])) if done else None
        said = refused[0][0][:90] if refused else ""
        rows.append((op, len(done), eight, wide, len(qualities) - len(done), said))
    columns = ("operator", "cases", "int8 dB", "16x8 dB", "not quantized", "why")
    return tables.table(columns, rows)


def measure(
    operators: Sequence[str], say: Callable[[str], None]
) -> tuple[list[Result], list[Quality | None]]:
    wanted = set(operators)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = [c for c in cases() if c.op in wanted]
        results = [judge(c) for c in found]
        for r in results:
            if r.status == "failed":
                say(f"{r.case.name}: {r.why}")
        return results, [quality(r) if r.status == "passed" else None for r in results]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--operators", help="such as Conv,Gemm; all without it")
    parser.add_argument("--update", type=Path, help="document whose sections are replaced")
    options = parser.parse_args(argv)
    every = claimed()
    chosen = options.operators.split(",") if options.operators else every
    results, found = measure(chosen, lambda text: print(text, file=sys.stderr, flush=True))
    sections = {
        "onnx conformance": summary(results, len(every)),
        "onnx integers": integer_table(results, found),
    }
    for name, text in sections.items() if options.update else ():
        tables.update(options.update, name, text)
    print("\n".join(sections.values()))
    return int(any(r.status == "failed" for r in results))


if __name__ == "__main__":
    sys.exit(main())
