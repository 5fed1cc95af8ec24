"""The command line: ``edgekit COMMAND``.

Exit status 0, 1 (the user can mend it), 2 (usage), 70 (a bug of ours), 130 (interrupted).
Commands are imported when they are named, so that ``--help`` stays quick.
"""

from __future__ import annotations

import errno
import importlib
import os
import re
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.version import __version__

if TYPE_CHECKING:
    from edgekit.errors import EdgekitError

#: What a disk can be to blame for, wherever it happens: no rights, read only, full.
_DISK = (errno.EACCES, errno.EROFS, errno.ENOSPC, errno.EDQUOT)

#: Command: (module that defines it, one line for --help).
COMMANDS = {
    "compile": ("compile", "Compile a model for a target: bundle, C sources, report."),
    "check": ("check", "Say which nodes of a model a target cannot run, all at once."),
    "inspect": ("inspect", "Show what is in a bundle, an output folder or a model file."),
    "prune": ("prune", "Make a float model smaller: fewer channels, or zeros among its weights."),
    "run": ("run", "Run samples through a compiled model."),
    "join": ("join", "Give compiled models that take turns one arena."),
    "library": ("library", "Make a library with a C API and a Python module of a model."),
    "diff": ("diff", "Compare a model with its compilation, layer by layer."),
    "report": ("report", "Write all that is known of a build as one HTML file."),
    "finetune": ("finetune", "Train a pruned or quantized model further, with PyTorch."),
    "flash": ("board", "Write a compiled model's firmware to a board and verify it."),
    "profile": ("profile", "Measure each layer on a board."),
    "energy": ("energy", "Energy of each layer, from a profile and a power analyser's trace."),
    "tune": ("tune", "Time the variants of each layer on a GPU and keep the fastest."),
    "validate": ("validate", "Compare a board's outputs with the reference's, byte by byte."),
    "export": ("export", "Write a compiled model as a package of another build system."),
    "targets": ("lists", "List the CPUs that models can be compiled for."),
    "boards": ("lists", "List the boards that firmware can be flashed to, or show one."),
    "accelerator": ("accelerator", "Estimate the accelerator's FPGA resources and cycles."),
    "ops": ("lists", "List the operators and their kernels."),
    "doctor": ("doctor", "Check this installation: packages, compilers, emulators."),
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"edgekit.cli.{COMMANDS[cmd_name][0]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            from edgekit.errors import did_you_mean

            ctx.fail(f"no command '{args[0]}'; {did_you_mean(args[0], list(COMMANDS))}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="edgekit")
def cli() -> None:
    """Compile trained neural networks for small devices; flash, run and profile them."""


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status (also the console script's)."""
    from edgekit.errors import EdgekitError

    try:
        status = cli.main(args=arguments, prog_name="edgekit", standalone_mode=False)
    except EdgekitError as error:
        click.echo(f"error: {error}", err=True)
        return 1
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (KeyboardInterrupt, click.Abort) as error:
        said = str(error.__cause__ or error)  # click makes an Abort of it
        click.echo(f"interrupted: {said}" if said else "interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) left; point stdout elsewhere so that exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as bug:
        if isinstance(bug, OSError) and bug.errno in _DISK:
            click.echo(f"error: {_of_the_disk(bug)}", err=True)
            return 1
        if os.environ.get("EDGEKIT_TRACEBACK"):
            traceback.print_exc()
        said = str(bug).splitlines()[0] if str(bug) else ""
        click.echo(
            f"internal error: {type(bug).__name__}: {said}\n"
            "help: this is a bug of ours; EDGEKIT_TRACEBACK=1 shows where, please report it",
            err=True,
        )
        return 70
    return status if isinstance(status, int) else 0  # click hands Exit's status back


def _of_the_disk(error: OSError) -> EdgekitError:
    from edgekit.errors import EdgekitError
    from edgekit.toolchain import cache_dir

    name = os.fsdecode(error.filename) if error.filename else ""
    name = re.sub(r"\w{8}\.part$", "", name)  # the temporary name of `write_atomic`
    in_cache = bool(name) and Path(name).is_relative_to(cache_dir())
    return EdgekitError(
        "E704",
        f"cannot write '{name}': {error.strerror}" if name else f"cannot write: {error.strerror}",
        help="EDGEKIT_CACHE_DIR names another folder" if in_cache else "check rights and space",
    )
