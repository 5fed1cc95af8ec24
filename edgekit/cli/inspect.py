"""``edgekit inspect``."""

from __future__ import annotations

from pathlib import Path

import click

from edgekit.cli.common import json_option, table, write_json
from edgekit.cli.compile import short_name


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--text", is_flag=True, help="Print the whole graph in its text form.")
@json_option
def inspect_command(file: Path, text: bool, json_file: str | None) -> None:
    """Show a bundle (model.ekb), an output folder, or a model file after all passes."""
    from edgekit.errors import EdgekitError
    from edgekit.output import BUNDLE, open_output

    if file.is_dir():
        if text:
            click.echo((open_output(file).path / "graph.txt").read_text(), nl=False)
            return
        _bundle(open_output(file).path / BUNDLE, json_file)
        return
    try:
        head = file.open("rb").read(8)
    except OSError as error:
        raise EdgekitError(
            "E702", f"cannot read {file}: {error.strerror or error}", help="check the path"
        ) from None
    if head[4:8] == b"EKB1" or file.suffix == ".ekb":
        _bundle(file, json_file)
    else:
        _model(file, text, json_file)


def _bundle(path: Path, json_file: str | None) -> None:
    from dataclasses import asdict

    from edgekit.bundle import read_bundle

    data = path.read_bytes()
    b = read_bundle(data, str(path))
    facts = {
        "name": b.name,
        "target": b.target,
        "producer": b.producer,
        "format": b.format_version,
        "hash": b.hash.hex(),
        "bytes": len(data),
        "arena_bytes": b.arena_bytes,
        "constant_bytes": len(b.constants),
        "kernels": [f"{k:016x}" for k in b.kernels],
        "inputs": [asdict(t) for t in b.inputs],
        "outputs": [asdict(t) for t in b.outputs],
        "layers": [asdict(layer) for layer in b.layers],
        "golden_samples": len(b.golden),
        "gpu": None
        if b.gpu is None
        else {
            "variants": [layer.variant_count for layer in b.gpu.layers],
            "arena_bytes": b.gpu.arena_bytes,
            "constant_bytes": len(b.gpu.constants),
            "spirv_bytes": len(b.gpu.spirv),
        },
    }
    if write_json(json_file, facts):
        return
    for key in ("name", "target", "producer", "format", "hash", "bytes", "arena_bytes",
                "constant_bytes", "golden_samples"):  # fmt: skip
        click.echo(f"{key.replace('_', ' '):15} {facts[key]}")
    if b.gpu is not None:
        counts = [layer.variant_count for layer in b.gpu.layers]
        click.echo(
            f"{'gpu':15} {sum(map(bool, counts))} of {len(counts)} layers, {sum(counts)} variants, "
            f"arena {b.gpu.arena_bytes}, constants {len(b.gpu.constants)}, "
            f"SPIR-V {len(b.gpu.spirv)} bytes"
        )
    rows = [
        (kind, t.name, t.shape, t.dtype, f"{t.scale:.6g}", t.zero_point, t.offset, t.layout)
        for kind, tensors in (("input", b.inputs), ("output", b.outputs))
        for t in tensors
    ]
    columns = ("", "name", "shape", "dtype", "scale", "zero point", "offset", "declared as")
    table("inputs and outputs", columns, rows)
    calls = [
        (i, short_name(layer.name), layer.op, layer.output_shape, layer.kernel,
         f"{b.kernels[call.kernel]:016x}")
        for i, (layer, call) in enumerate(zip(b.layers, b.calls, strict=True))
    ]  # fmt: skip
    table("calls", ("", "layer", "operator", "out", "kernel", "fingerprint"), calls)


def _model(path: Path, text: bool, json_file: str | None) -> None:
    from edgekit import importers
    from edgekit.ops import operator
    from edgekit.text import dumps

    graph = importers.load(path)
    if text:
        click.echo(dumps(graph), nl=False)
        return
    rows = []
    for node in graph.nodes:
        values = [graph.values[i] for i in node.inputs]
        out = graph.values[node.output]
        weights = sum(v.nbytes for v in values if v.name in graph.constants)
        rows.append(
            (short_name(node.name or node.output), node.op, values[0].shape, out.shape, out.dtype,
             operator(node.op).macs(node, values, out), weights)
        )  # fmt: skip
    columns = ("node", "operator", "in", "out", "dtype", "MACs", "constants B")
    if not write_json(json_file, [dict(zip(columns, row, strict=True)) for row in rows]):
        table(f"{path.name}, canonical", columns, rows)
