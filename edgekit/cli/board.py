"""``edgekit flash``, and how boards are named and reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from edgekit.cli.common import (
    compiler_option,
    json_option,
    mode_option,
    progress,
    write_json,
)

board_option = click.option("--board", required=True, help="Board: edgekit boards.")


def access_options(command: Callable[..., None]) -> Callable[..., None]:
    """How to reach the board; the command takes them as ``route, port, serial, transport``."""
    for option in reversed(
        (
            click.option("--route", help="Way to the board: edgekit boards; default: its first."),
            click.option("--port", help="What the route connects to; default: found by itself."),
            click.option("--serial", help="Serial port of the program, where it is another one."),
            click.option(
                "--transport",
                type=click.Choice(["uart", "rtt", "semihosting", "usb"]),
                help="How the program talks to the host; default: the board's first that works.",
            ),
        )
    ):
        command = option(command)
    return command


@click.command("flash")
@click.argument("out", type=click.Path(path_type=Path))
@board_option
@access_options
@mode_option
@compiler_option
@json_option
def flash_command(
    out: Path,
    board: str,
    aot: bool,
    compiler: str,
    json_file: str | None,
    **access: str | None,
) -> None:
    """Build the firmware of OUT for a board, write it, read it back and compare."""
    from dataclasses import asdict, replace

    from edgekit.devices.find import find_board
    from edgekit.devices.routes import Access, transport_of
    from edgekit.devices.session import connect
    from edgekit.errors import EdgekitError
    from edgekit.execute import build, check_hash, exclusive, flash_firmware
    from edgekit.output import open_output

    folder, chosen, way = open_output(out), find_board(board), Access(**access)
    with progress() as say:
        say(f"building for {chosen.name}", 0.0)
        firmware = build(
            folder,
            chosen,
            mode="aot" if aot else "interpreter",
            compiler=compiler,
            transport=transport_of(chosen, way),
        )
        way = replace(way, program=str(firmware.elf))
        with exclusive(chosen, way, say):
            report = flash_firmware(chosen, firmware.elf, say, way)
            if (way.route or chosen.routes[0]) == "verilator":
                say(f"starting {chosen.name}; its simulator is built once, in minutes", 0.0)
            try:
                with connect(chosen, access=way) as session:
                    hello = session.hello()
                    check_hash(session, folder, chosen)
            except EdgekitError as error:
                done = f"all {report.bytes} B were written, {report.verified} B {report.checked}"
                if error.code != "E750":  # a simulated board that cannot be built never started
                    done += "; the program was started"
                error.details = (*error.details, f"flashing is over: {done}")
                if error.code == "E607":
                    error.help = "is --serial the port that the program talks on? press reset once"
                raise
    if write_json(json_file, {**asdict(report), "mode": hello.mode}):
        return
    click.echo(
        f"flashed {report.bytes} B to {report.board}, {report.verified} B {report.checked}; "
        f"it runs {folder.name} ({hello.mode}, counter {hello.counter})"
    )
    click.echo(f"route {report.route}, proven against: {report.proven}")
