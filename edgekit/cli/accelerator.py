"""``edgekit accelerator``: what a configuration takes, and how long a model's streams do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgekit.cli.common import json_option, table, write_file, write_json
from edgekit.cli.compile import short_name

if TYPE_CHECKING:
    from targets.npu.config import Accelerator

_SIZES = ("out_lanes", "requant_lanes", "a_words", "w_words", "p_channels")
_MEANING = {
    "out_lanes": "Output channels per cycle, each with 8 multipliers.",
    "requant_lanes": "Results rescaled per cycle.",
    "a_words": "Words of 8 bytes of the activation memory.",
    "w_words": "Words of 8 bytes for each output lane of the weight memory.",
    "p_channels": "Channels of the parameter memory.",
}


def _sizes(command: Callable[..., None]) -> Callable[..., None]:
    for name in reversed(_SIZES):
        option = f"--{name.replace('_', '-')}"
        command = click.option(option, type=int, metavar="N", help=_MEANING[name])(command)
    return command


@click.command("accelerator")
@click.argument("what", required=False)
@_sizes
@click.option("--no-tables", is_flag=True, help="Without ADD and its tables.")
@click.option("--lut-multipliers", is_flag=True, help="Products from logic, not multipliers.")
@click.option(
    "--verilog",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the configuration's hardware to this file: Verilog-2005, module npu.",
)
@click.option(
    "--save",
    type=click.Path(path_type=Path),
    metavar="FOLDER/NAME.toml",
    help="Write a target with these sizes, and its two boards to FOLDER/boards.",
)
@json_option
def accelerator_command(
    what: str | None,
    json_file: str | None,
    verilog: Path | None,
    save: Path | None,
    no_tables: bool,
    lut_multipliers: bool,
    **sizes: int | None,
) -> None:
    """The accelerator: FPGA resources, Verilog, and cycles of a compiled model's streams.

    WHAT is a configuration's name, of which the options change sizes, or an output folder. Without
    it, all configurations that have a name.
    """
    changes = {name: value for name, value in sizes.items() if value is not None}
    changes |= {"tables": False} if no_tables else {}
    changes |= {"lut_multipliers": True} if lut_multipliers else {}
    from targets.npu.config import CONFIGURATIONS

    if what is not None and what not in CONFIGURATIONS and Path(what).is_dir():
        if changes:
            raise click.UsageError("sizes belong to a configuration; compile again for another one")
        if verilog is not None:
            raise click.UsageError("Verilog is made of a configuration, such as npu64")
        if save is not None:
            raise click.UsageError("a target is made of a configuration, such as npu64")
        _streams(Path(what), json_file)
        return
    if what is None and (changes or verilog is not None or save is not None):
        meant = "sizes are of" if changes else f"{'Verilog' if verilog else 'target'} is wanted of"
        raise click.UsageError(f"name the configuration that the {meant}, such as npu64")
    found = [_configuration(what, changes)] if what is not None else [*_known().values()]
    if verilog is not None:
        _write_verilog(found[0], verilog)
    if save is not None:
        _save(found[0], save)
    _resources(found, json_file)
    if verilog is not None and json_file != "-":
        click.echo(f"wrote {verilog}: module npu; docs/ACCELERATOR.md has its ports")
    if save is not None and json_file != "-":
        click.echo(f"wrote {save} and its boards virtual-{save.stem} and sim-{save.stem}-soc;")
        click.echo(f"  for edgekit to know them: export EDGEKIT_TARGETS={save.parent.resolve()}")


def _configuration(name: str, changes: dict[str, Any]) -> Accelerator:
    from dataclasses import replace

    from edgekit.errors import EdgekitError, did_you_mean
    from targets.npu.config import CONFIGURATIONS

    known = CONFIGURATIONS if name in CONFIGURATIONS else _known()
    if name not in known:
        raise EdgekitError(
            "E349",
            f"'{name}' is no configuration of the accelerator, nor an output folder",
            help=did_you_mean(name, list(known)),
        )
    try:
        changed = replace(known[name], **changes)
        return changed if changed == known[name] else replace(changed, name="changed")
    except ValueError as error:
        raise EdgekitError(
            "E349", f"no such accelerator: {error}", help="change the size"
        ) from None


def _known() -> dict[str, Accelerator]:
    """Configurations that have a name, and those of targets of one's own."""
    from edgekit.devices.find import all_targets
    from targets.npu.config import CONFIGURATIONS

    own = {name: t.accelerator for name, t in all_targets().items()}
    return {name: a for name, a in (own | CONFIGURATIONS).items() if a is not None}


def _save(config: Accelerator, path: Path) -> None:
    from edgekit.accelerator_target import target_files

    for file, text in target_files(config, path).items():
        write_file(file, text.encode())


def _write_verilog(config: Accelerator, path: Path) -> None:
    from edgekit.devices.emulators.verilated import accelerator_verilog

    text = accelerator_verilog(config).read_text()
    size = [f"{k} {v}" for k, v in asdict(config).items() if k != "name"]
    head = f"// edgekit's accelerator {config.name}: {', '.join(size)}.\n"
    head += f"// Register CONFIG reads {config.word:#010x}. Ports: docs/ACCELERATOR.md.\n"
    write_file(path, (head + text).encode())


def _resources(found: list[Accelerator], json_file: str | None) -> None:
    from targets.npu.resources import DEVICES, estimate

    facts = []
    for config in found:
        needs = estimate(config)
        fits = [d.name for d in DEVICES if d.holds(needs)]
        facts.append(asdict(config) | {"macs": config.macs} | asdict(needs) | {"fits": fits})
    if write_json(json_file, facts):
        return
    columns = ("configuration", "MACs", "rescaled", "A bytes", "W bytes", "channels", "LUT", "FF",
               "DSP", "block RAM", "fits (est.)")  # fmt: skip
    rows = [
        (c.name, c.macs, c.requant_lanes, c.a_bytes, c.w_bytes, c.p_channels, f["lut"], f["ff"],
         f["dsp"], f["bram"], ", ".join(f["fits"]) or "none")
        for c, f in zip(found, facts, strict=True)
    ]  # fmt: skip
    table("the accelerator on an ECP5, estimated", columns, rows)
    click.echo("LUTs and FFs within 15 % of synthesis; make synth measures")


def _streams(path: Path, json_file: str | None) -> None:
    from edgekit.accelerator import streams
    from edgekit.output import open_output

    folder = open_output(path)
    found = streams(folder)
    if write_json(json_file, [asdict(s) for s in found]):
        return
    columns = ("stream", "commands", "words", "cycles (est.)", "array steps", "of the cycles %",
               "bus words", "waited", "stalled", "A words", "W words", "channels")  # fmt: skip
    rows = [
        (short_name(s.layer), s.commands, s.words, s.cycles, s.steps, 100 * s.steps / s.cycles,
         s.moved, s.waited, s.stalled, s.a_words, s.w_words, s.p_channels)
        for s in found
    ]  # fmt: skip
    table(f"streams of {folder.bundle.name}", columns, rows)
    click.echo("without the CPU's part; edgekit compile and profile show that")
