"""``edgekit flash`` and ``edgekit profile``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from edgekit.cli.common import (
    compiler_option,
    json_option,
    mode_option,
    progress,
    table,
    write_file,
    write_json,
)
from edgekit.cli.compile import short_name

board_option = click.option("--board", required=True, help="Board: edgekit boards.")
port_option = click.option("--port", help="Serial port or probe, for boards that have one.")


@click.command("flash")
@click.argument("out", type=click.Path(path_type=Path))
@board_option
@port_option
@mode_option
@compiler_option
@json_option
def flash_command(
    out: Path, board: str, port: str | None, aot: bool, compiler: str, json_file: str | None
) -> None:
    """Build the firmware of OUT for a board, write it, read it back and compare."""
    from dataclasses import asdict

    from edgekit.devices.find import find_board
    from edgekit.devices.flash import flash
    from edgekit.devices.session import connect
    from edgekit.execute import build, check_hash
    from edgekit.output import open_output

    folder, chosen = open_output(out), find_board(board)
    with progress() as say:
        say(f"building for {chosen.name}", 0.0)
        firmware = build(folder, chosen, mode="aot" if aot else "interpreter", compiler=compiler)
        report = flash(chosen, firmware.elf, lambda done, all_: say("flashing", done / all_))
        with connect(chosen, port=port) as session:
            hello = session.hello()
            check_hash(session, folder, chosen)
    if write_json(json_file, {**asdict(report), "mode": hello.mode}):
        return
    click.echo(
        f"flashed {report.bytes} B to {report.board}, {report.verified} B read back and equal; "
        f"it runs {folder.name} ({hello.mode}, counter {hello.counter})"
    )


@click.command("profile")
@click.argument("out", type=click.Path(path_type=Path))
@board_option
@port_option
@mode_option
@compiler_option
@click.option("--repeat", default=5, show_default=True, type=click.IntRange(1, 1000), help="Runs.")
@click.option("--trace", type=click.Path(path_type=Path), help="Write a Chrome/Perfetto trace.")
@json_option
def profile_command(
    out: Path,
    board: str,
    port: str | None,
    aot: bool,
    compiler: str,
    repeat: int,
    trace: Path | None,
    json_file: str | None,
) -> None:
    """Measure each layer of OUT on a board, and check its output against the reference."""
    from edgekit.devices.find import find_board
    from edgekit.devices.trace import chrome_trace, profile_json
    from edgekit.errors import EdgekitError
    from edgekit.execute import session
    from edgekit.output import open_output

    folder, chosen = open_output(out), find_board(board)
    mode = "aot" if aot else "interpreter"
    sample = folder.bundle.golden[-1]
    with (
        progress() as say,
        session(folder, chosen, mode=mode, compiler=compiler, port=port, progress=say) as device,
    ):
        say(f"profiling on {chosen.name}", 0.0)
        measured = device.profile(list(sample.inputs), repeat)
        found = device.run(list(sample.inputs))
        stack, _ = device.stack_used()
    if found != list(sample.outputs):
        wrong = sum(
            a != b
            for got, want in zip(found, sample.outputs, strict=True)
            for a, b in zip(got, want, strict=True)
        )
        raise EdgekitError(
            "E622",
            f"board '{chosen.name}' gives {wrong} bytes that differ from the reference",
            help="its figures are worth nothing until that is found; please report it",
        )
    layers = folder.bundle.layers
    names = [layer.name for layer in layers]
    if trace is not None:
        write_file(trace, json.dumps(chrome_trace(measured, names), indent=1).encode())
    figures = {**profile_json(measured, names), "mode": mode, "stack_bytes": stack}
    if write_json(json_file, figures):
        return
    whole = sum(measured.layers) or 1
    rows = [
        (
            i,
            short_name(layer.name),
            layer.op,
            layer.output_shape[1:],
            layer.macs,
            value,
            value / layer.macs if layer.macs else None,
            100 * value / whole,
        )
        for i, (layer, value) in enumerate(zip(layers, measured.layers, strict=True))
    ]
    table(
        f"{folder.name} on {chosen.name} ({mode})",
        ("", "layer", "operator", "out", "MACs", measured.unit, "per MAC", "%"),
        rows,
        ("", "total", "", "", sum(x.macs for x in layers), measured.total, None, None),
    )
    if measured.hz:
        click.echo(
            f"{1e3 * measured.total / measured.hz:.2f} ms at {measured.hz / 1e6:g} MHz, estimated"
            if "estimated" in measured.unit
            else f"{1e3 * measured.total / measured.hz:.2f} ms at {measured.hz / 1e6:g} MHz"
        )
    click.echo(
        f"counter {measured.counter}, fastest of {measured.repeat} runs, overhead subtracted; "
        f"stack {stack} B; output equals the reference"
    )
