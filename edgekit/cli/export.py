"""``edgekit export``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgekit.cli.common import json_option, progress, write_json
from edgekit.errors import EdgekitError
from edgekit.packages.registry import FORMS, PREBUILT

if TYPE_CHECKING:
    from edgekit.packages import Contents
    from edgekit.packages.libraries import Libraries


@click.command("export")
@click.argument("outs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--as",
    "form",
    required=True,
    type=click.Choice(sorted((*FORMS, *PREBUILT))),
    help="Form of the package.",
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="Folder, or an archive where the name ends in .zip (cmsis-pack: .pack, android: .aar); "
    "the folder that a wheel is put in.",
)
@click.option(
    "--mode",
    type=click.Choice(["aot", "interpreter"]),
    default="aot",
    show_default=True,
    help="Ahead-of-time compiled C, or the bundle and the interpreter; sources only.",
)
@click.option("--author", default="edgekit", help="Who publishes it, for its manifest.")
@click.option("--url", default=None, help="Where people find it, for its manifest.")
@click.option("--package-version", "version", default="", help="X.Y.Z; else that of edgekit.")
@json_option
def export_command(
    outs: tuple[Path, ...],
    form: str,
    output: Path,
    mode: str,
    author: str,
    url: str | None,
    version: str,
    json_file: str | None,
) -> None:
    """Write OUTS as a package of another build system, with an example that checks itself.

    Packages of sources are made of one output folder. android, linux and wheel hold compiled
    libraries of one model, made of one folder for each CPU.
    """
    from edgekit.library.packing import libraries_of
    from edgekit.packages import About, find_form, read_contents, write_package
    from edgekit.packages.labels import label_of
    from edgekit.packages.writing import check_outside

    chosen = find_form(form)
    about = About(author, url or About.url, version)
    contents: Contents | Libraries
    if chosen.prebuilt:
        for out in outs:
            check_outside(output, out)
        if mode != "aot":
            raise EdgekitError(
                "E728",
                f"--as {form} holds compiled libraries, which have no '{mode}' mode",
                help="leave --mode away",
            )
        with progress() as say:
            contents = libraries_of(outs, about, say)
        targets, what = contents.targets, "library"
    else:
        if len(outs) > 1:
            raise EdgekitError(
                "E728",
                f"--as {form} takes one output folder, {len(outs)} are given",
                help=f"--as {', '.join(PREBUILT)} take one for each CPU; edgekit join makes one "
                "folder of several models",
            )
        contents = read_contents(outs[0], mode, about)
        if contents.target.gpu and mode == "aot":
            raise EdgekitError(
                "E729",
                f"'{outs[0]}' is for {contents.target.name}, --mode aot is for CPUs only",
                help=f"--as {', '.join(PREBUILT)} bring libraries that use the GPU, --mode "
                "interpreter the sources of the runtime for it",
            )
        check_outside(output, outs[0])
        targets, what = contents.target.name, mode
    written = write_package(output, chosen, contents)
    figures = {
        "path": str(written.path),
        "form": form,
        "name": contents.name,
        "version": contents.version,
        "target": targets,
        "mode": what,
        "files": written.files,
        "bytes": written.nbytes,
        "kept": list(written.kept),
        "checked": label_of(form),
    }
    if write_json(json_file, figures):
        return
    click.echo(
        f"wrote {written.path}: {chosen.title} of {contents.name} {contents.version} "
        f"({what}, {targets}), {written.files} files, {written.nbytes} B"
    )
    if written.kept:
        click.echo(f"kept {len(written.kept)} files that were added to the folder")
    click.echo(f"this form is checked by edgekit's tests: {label_of(form)}")
    if chosen.archive_only:
        click.echo(f"next: pip install {written.path}")
    elif written.path.is_dir():
        click.echo(f"next: {written.path / 'README.md'}")
    else:
        click.echo("next: README.md in it")
