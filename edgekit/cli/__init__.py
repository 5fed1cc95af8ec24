"""The command line: ``edgekit COMMAND``.

Exit status 0, 1 (the user can mend it), 2 (usage), 70 (a bug of ours), 130 (interrupted).
Commands are imported when they are named, so that ``--help`` stays quick.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback

import click

import edgekit

#: Command: (module that defines it, one line for --help).
COMMANDS = {
    "compile": ("compile", "Compile a model for a target: bundle, C sources, report."),
    "check": ("check", "Say which nodes of a model a target cannot run, all at once."),
    "inspect": ("inspect", "Show what is in a bundle, an output folder or a model file."),
    "prune": ("prune", "Make a float model smaller: fewer channels, or zeros among its weights."),
    "run": ("run", "Run samples through a compiled model."),
    "diff": ("diff", "Compare a model with its compilation, layer by layer."),
    "finetune": ("finetune", "Train a pruned or quantized model further, with PyTorch."),
    "flash": ("board", "Write a compiled model's firmware to a board and verify it."),
    "profile": ("board", "Measure each layer on a board."),
    "targets": ("lists", "List the CPUs that models can be compiled for."),
    "boards": ("lists", "List the boards that firmware can be flashed to."),
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
@click.version_option(edgekit.__version__, prog_name="edgekit")
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
    except (KeyboardInterrupt, click.Abort):
        click.echo("interrupted", err=True)
        return 130
    except BrokenPipeError:
        # The reader (head, less) left; point stdout elsewhere so that exit stays quiet.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as bug:
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


def script() -> None:
    # numpy is not loaded yet. Its matrices are small here: threads wait for each other longer than
    # they compute.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    sys.exit(main())
