"""``edgekit profile``."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.board import access_options, board_option
from edgekit.cli.common import (
    cell,
    compiler_option,
    json_option,
    mode_option,
    progress,
    table,
    write_file,
    write_json,
)
from edgekit.cli.compile import short_name

if TYPE_CHECKING:
    from edgekit.devices.profile import Profile
    from edgekit.devices.session import Session
    from edgekit.output import Output


@click.command("profile")
@click.argument("out", type=click.Path(path_type=Path))
@board_option
@access_options
@mode_option
@compiler_option
@click.option("--repeat", default=5, show_default=True, type=click.IntRange(1, 1000), help="Runs.")
@click.option(
    "--warm-up",
    default=1,
    show_default=True,
    type=click.IntRange(0, 1000),
    help="Runs before them that do not count.",
)
@click.option("--cold", is_flag=True, help="Empty the caches before each run.")
@click.option("--interrupts-off", is_flag=True, help="Mask interrupts during each run.")
@click.option(
    "--trigger", is_flag=True, help="Move a pin at layer edges, for a power analyser (energy)."
)
@click.option("--trace", type=click.Path(path_type=Path), help="Write a Chrome/Perfetto trace.")
@json_option
def profile_command(
    out: Path,
    board: str,
    aot: bool,
    compiler: str,
    repeat: int,
    warm_up: int,
    cold: bool,
    interrupts_off: bool,
    trigger: bool,
    trace: Path | None,
    json_file: str | None,
    **access: str | None,
) -> None:
    """Measure each layer of OUT on a board, and check its output against the reference."""
    from edgekit.devices.find import find_board
    from edgekit.devices.firmware.memory import memory_by_region
    from edgekit.devices.routes import Access, transport_of
    from edgekit.devices.trace import chrome_trace, profile_json
    from edgekit.execute import build, running
    from edgekit.htmlreport import arena_in_use
    from edgekit.output import open_output

    folder, chosen, way = open_output(out), find_board(board), Access(**access)
    mode = "aot" if aot else "interpreter"
    inputs = list(folder.bundle.golden[-1].inputs)
    with progress() as say:
        say(f"building for {chosen.name}", 0.0)
        firmware = build(
            folder,
            chosen,
            mode=mode,
            compiler=compiler,
            transport=transport_of(chosen, way),
            trigger=trigger,
        )
        with running(folder, chosen, firmware, access=way, progress=say) as device:
            measured = device.profile(
                inputs,
                repeat,
                warm_up=warm_up,
                cold=cold,
                interrupts_off=interrupts_off,
                progress=lambda n, all_: say(f"{chosen.name}, run {n + 1} of {all_}", n / all_),
            )
            exact = _check_output(folder, device)
            stack, reserved = device.stack_used()
            arena = device.hello().arena_bytes
        regions = [vars(r) for r in memory_by_region(firmware.elf, chosen)]
    names = [layer.name for layer in folder.bundle.layers]
    if trace is not None:
        events = chrome_trace(measured, names, arena_in_use(folder))
        write_file(trace, json.dumps(events, indent=1).encode())
    figures = {
        **profile_json(measured, names),
        "model": folder.name,
        "hash": folder.bundle.hash.hex(),
        "mode": mode,
        "trigger": trigger,
        "stack_bytes": stack if reserved else None,
        "arena_bytes": arena,
        "regions": regions,
    }
    for warning in measured.warnings:
        click.echo(f"warning: {warning}", err=True)
    if not write_json(json_file, figures):
        _print(folder, measured, mode, exact)
        _print_memory(regions, figures["stack_bytes"], arena)


def _check_output(folder: Output, device: Session) -> bool:
    """Whether the board computes the reference's bytes, or floats of a GPU that are close enough.

    Raises:
        EdgekitError: E622 where it computes anything else.
    """
    from edgekit.errors import EdgekitError
    from edgekit.measure import agree

    sample = folder.bundle.golden[-1]
    if folder.bundle.states:
        device.reset()
    found = device.run(list(sample.inputs))
    wrong = sum(
        a != b
        for got, want in zip(found, sample.outputs, strict=True)
        for a, b in zip(got, want, strict=True)
    )
    if not agree(folder.bundle, device.board, found, list(sample.outputs)):
        raise EdgekitError(
            "E622",
            f"board '{device.board.name}' gives {wrong} bytes that differ from the reference",
            help="its figures are worth nothing until that is found: edgekit validate",
        )
    return not wrong


def _print(folder: Output, measured: Profile, mode: str, exact: bool = True) -> None:
    """The table of layers, with a median and a maximum only where runs differ, and the whole."""
    layers = folder.bundle.layers
    whole = sum(measured.layers) or 1
    spread = not measured.steady
    used = any(work.steps or work.moved for work in measured.work)
    rows = [
        (
            i,
            short_name(layer.name),
            layer.op,
            layer.output_shape[1:],
            layer.macs,
            value,
            *([measured.layer(i).median, measured.layer(i).max] if spread else []),
            value / layer.macs if layer.macs else None,
            100 * value / whole,
            *(_work(measured, i, layer.macs, value) if used else ()),
            *(text.partition(";")[0] for text in measured.computed_by[i : i + 1]),
        )
        for i, (layer, value) in enumerate(zip(layers, measured.layers, strict=True))
    ]
    from edgekit.devices.gpu import A_CPU
    from edgekit.devices.profile import CLOCKS

    total = measured.whole
    table(
        f"{folder.name} on {measured.board} ({mode})",
        ("", "layer", "operator", "out", "MACs", measured.unit,
         *(("median", "max") if spread else ()), "per MAC", "%",
         *(_WORK if used else ()), *(("by",) if measured.computed_by else ())),
        rows,
        ("", "total", "", "", sum(x.macs for x in layers), measured.total,
         *((total.median, total.max) if spread else ()), None, None,
        *(_work_of_all(measured, sum(x.macs for x in layers)) if used else ()),
         *(("",) if measured.computed_by else ())),
    )  # fmt: skip
    if measured.hz:
        click.echo(
            f"{1e3 * measured.total / measured.hz:.2f} ms"
            + (f" at {measured.hz / 1e6:g} MHz" if measured.counter not in CLOCKS else "")
            + (", estimated" if "estimated" in measured.unit else "")
            + (f"; {A_CPU}" if A_CPU in measured.warnings else "")
        )
    if measured.device:
        click.echo(f"device {measured.device}")
    runs = f"{measured.repeat} runs" if measured.repeat > 1 else "1 run"
    equal = " (no difference between them)" if measured.steady and measured.repeat > 1 else ""
    click.echo(
        f"counter {measured.counter}, fastest of {runs}{equal} after {measured.warm_ups} to warm "
        "up, overhead subtracted; "
        + ("output equals the reference" if exact else "output is close enough to the reference")
    )
    if measured.interrupts_off:
        click.echo("interrupts were off during each run")
    if measured.cold:
        click.echo(f"cold runs; {measured.cold}")


#: Columns of boards with an accelerator: cycles in which its array did a step, MACs of what its
#: multipliers could do in the layer's cycles, words on the bus, cycles in which a transfer waited.
_WORK = ("array steps", "of array %", "bus words", "bus stalls")


def _work(measured: Profile, layer: int, macs: int, value: int) -> tuple[object, ...]:
    work, share = measured.work[layer], measured.utilisation(macs, value)
    return work.steps, None if share is None else 100 * share, work.moved, work.stalled


def _work_of_all(measured: Profile, macs: int) -> tuple[object, ...]:
    work, share = measured.work, measured.utilisation(macs, measured.total)
    return (
        sum(w.steps for w in work),
        None if share is None else 100 * share,
        sum(w.moved for w in work),
        sum(w.stalled for w in work),
    )


def _print_memory(regions: Sequence[dict[str, Any]], stack: int | None, arena: int) -> None:
    used = [f"{r['name']} {cell(r['used'])} of {cell(r['size'])} B" for r in regions]
    of_it = "of it " if used else ""
    told = [] if stack is None else [f"stack used {cell(stack)} B"]
    click.echo(", ".join([*used, f"{of_it}arena {cell(arena)} B", *told]))
