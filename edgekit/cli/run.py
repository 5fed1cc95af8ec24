"""``edgekit run``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.board import access_options
from edgekit.cli.common import (
    compiler_option,
    json_option,
    mode_option,
    progress,
    table,
    write_file,
    write_json,
)

if TYPE_CHECKING:
    import numpy as np

    from edgekit.output import Output

Runner = Callable[[list[bytes]], list[bytes]]


@click.command("run")
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--input", "input_file", type=click.Path(path_type=Path), required=True, help="Samples."
)
@click.option("--output", type=click.Path(path_type=Path), help="Where outputs go (.npz).")
@click.option("--raw", is_flag=True, help="Outputs as the program's integers, not real values.")
@click.option(
    "--on",
    "where",
    default="host",
    show_default=True,
    help="'reference' (numpy), 'host' (the same C on this machine), or a board.",
)
@access_options
@mode_option
@compiler_option
@json_option
def run_command(
    out: Path,
    input_file: Path,
    output: Path | None,
    raw: bool,
    where: str,
    aot: bool,
    compiler: str,
    json_file: str | None,
    **access: str | None,
) -> None:
    """Run samples through the compiled model OUT, in order.

    With a `label` array in the samples it prints the accuracy.
    """
    import numpy as np

    from edgekit import data
    from edgekit.devices.routes import Access
    from edgekit.execute import execute
    from edgekit.output import open_output

    folder = open_output(out)
    graph = folder.graph
    samples = data.load(input_file, graph)
    raw_inputs = data.quantize_inputs(graph, samples.arrays)
    notices: list[str] = []
    with progress() as say:
        results = execute(
            folder, raw_inputs, where, mode="aot" if aot else "interpreter", compiler=compiler,
            access=Access(**access), progress=say, notices=notices,
        )  # fmt: skip
    for notice in notices:
        click.echo(f"warning: {notice}", err=True)
    if output is not None:
        _save(output, folder, results, raw)
    summary: dict[str, object] = {"samples": samples.count, "on": where}
    if samples.labels is not None:
        scores = results[graph.outputs[0]].reshape(samples.count, -1)
        right = int((scores.argmax(1) == np.asarray(samples.labels)).sum())
        summary |= {"correct": right, "accuracy": right / samples.count}
    if write_json(json_file, summary):
        return
    _print_first(folder, results, raw)
    click.echo(f"{samples.count} samples on {where}")
    if samples.labels is not None:
        click.echo(f"accuracy {100 * right / samples.count:.2f} % ({right} of {samples.count})")


def _save(path: Path, folder: Output, results: Mapping[str, np.ndarray], raw: bool) -> None:
    import io

    import numpy as np

    from edgekit import data

    graph = folder.graph
    arrays = {
        name: data.to_declared_layout(graph, name, values)
        if raw
        else data.dequantize_output(graph, name, values)
        for name, values in results.items()
    }
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    write_file(path, buffer.getvalue())


def _print_first(folder: Output, results: Mapping[str, np.ndarray], raw: bool) -> None:
    """The first samples' largest outputs, to see that something sensible comes out."""
    from edgekit import data

    graph = folder.graph
    name = graph.outputs[0]
    values = results[name] if raw else data.dequantize_output(graph, name, results[name])
    rows = []
    for i, row in enumerate(values.reshape(len(values), -1)[:5]):
        best = row.argsort()[::-1][:3]
        rows.append((i, ", ".join(f"{k}: {row[k]:.4g}" for k in best)))
    table(f"output '{name}', first samples", ("sample", "largest (index: value)"), rows)
