"""Several compiled models in one arena: output folders in, one folder out.

OUT/edgekit.json    target, the models' names, the figures
OUT/NAME/           each model's whole output folder, with the joint plan's offsets
OUT/src/            generated C of all models: kernels that they share are there once
OUT/src/edgekit/    the runtime
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit.assemble import bundle_of
from edgekit.build import model_files, source_files
from edgekit.bundle import Bundle
from edgekit.devices.find import find_board, find_target
from edgekit.devices.firmware.build import firmware_folder
from edgekit.errors import EdgekitError
from edgekit.measure import measure, report_of
from edgekit.output import MARKER, Output, check_writable, open_output, write_output
from edgekit.rebuilding import Rebuilt, rebuilt
from edgekit.toolchain import find_compiler, read_sizes
from edgekit.version import __version__
from targets import Board

Progress = Callable[[str, float], None]
#: Of a model's report: what a joint plan does not change and a build cannot find out.
_KEPT = (
    "sqnr_db", "logits_sqnr_db", "calibration_samples", "agreement", "agreement_samples",
    "judged_sqnr_db", "optimize",
)  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One model of a joint folder. Bytes: its arena alone, what of it states keep, how far it
    reaches in the joint arena, flash of its kernels, of which `shared` other models call too."""

    name: str
    arena: int
    kept: int
    reach: int
    kernels: int
    shared: int
    kernel_flash: int


@dataclass(frozen=True)
class Joined:
    """What `join` wrote. Bytes: `arena` of all models together, `kernel_flash` of all kernels, each
    once."""

    path: Path
    target: str
    members: tuple[Member, ...]
    arena: int
    kernel_flash: int

    @property
    def arena_saved(self) -> int:
        """Against an arena for each model."""
        return sum(m.arena for m in self.members) - self.arena

    @property
    def flash_saved(self) -> int:
        """Against kernels for each model."""
        return sum(m.kernel_flash for m in self.members) - self.kernel_flash

    def as_json(self) -> dict[str, Any]:
        """Plain values for json.dumps."""
        return {
            "target": self.target,
            "models": [m.name for m in self.members],
            "members": [asdict(m) for m in self.members],
            "arena_bytes": self.arena,
            "arena_bytes_alone": sum(m.arena for m in self.members),
            "arena_bytes_saved": self.arena_saved,
            "kernel_flash_bytes": self.kernel_flash,
            "kernel_flash_bytes_saved": self.flash_saved,
        }


def join(
    folders: Sequence[Path],
    output: Path,
    *,
    compiler: str = "zig",
    progress: Progress | None = None,
) -> Joined:
    """Give the compiled models in `folders` one arena and write them to `output`.

    Each model is run once from its place in the joint arena on its target's reference board.

    Raises:
        EdgekitError: E345 where these models do not go together by name, E346 by target, E348
            where one cannot be rebuilt as it was compiled; E70x from reading and writing.
    """
    from codegen import joint_check
    from codegen.joint import join as planned
    from codegen.joint_sources import joint_sources

    say = progress or (lambda stage, share: None)
    check_writable(output)
    opened = _opened(folders, output)
    parts = []
    for i, folder in enumerate(opened):
        say(f"reading {folder.name}", i / len(opened))
        parts.append(rebuilt(folder))
    joint = planned([part.program for part in parts])
    joint_check.check(joint.programs, joint.arena_bytes)
    board = find_board(find_target(opened[0].target).default_board)
    files: dict[str, bytes | str] = {}
    hashes = []
    for i, (part, program) in enumerate(zip(parts, joint.programs, strict=True)):
        say(f"running {part.folder.name}", i / len(parts))
        bundle = bundle_of(program, part.bundle.golden)
        hashes.append(bundle.hash)
        for name, body in _member_files(part, program, bundle, board, compiler):
            files[f"{part.folder.name}/{name}"] = body
    sources = joint_sources(joint, hashes)
    files |= source_files(sources)
    say("sizes", 1.0)
    kernel_flash = _flash_of(sources, board, compiler)
    members = []
    for part, program, kept in zip(parts, joint.programs, joint.kept, strict=True):
        others = {k.fingerprint for p in parts if p is not part for k in p.program.kernels}
        have = {k.fingerprint for k in part.program.kernels}
        texts = {p.name: p.read_text() for p in part.folder.sources.glob("*.[ch]")}
        members.append(
            Member(
                part.folder.name,
                part.program.arena_bytes,
                kept,
                program.arena_bytes,
                len(have),
                len(have & others),
                _flash_of(texts, board, compiler),
            )
        )
    joined = Joined(output, opened[0].target, tuple(members), joint.arena_bytes, kernel_flash)
    say("write", 1.0)
    write_output(output, files, {"edgekit": __version__, **joined.as_json()})
    return joined


def _opened(folders: Sequence[Path], output: Path) -> list[Output]:
    """The folders, of which none is `output`, all of one target and different names."""
    from codegen.joint_sources import TAKEN

    opened = [open_output(Path(path)) for path in folders]
    if len(opened) < 2:
        raise EdgekitError(
            "E345",
            f"{len(opened)} model to join, it takes 2 or more",
            help="edgekit join OUT_A OUT_B -o OUT",
        )
    for folder in opened:
        if folder.path.resolve() == Path(output).resolve():
            raise EdgekitError(
                "E345", f"'{output}' is one of the models to join", help="choose another -o OUT"
            )
        if "joint" in folder.description:
            raise EdgekitError(
                "E345",
                f"'{folder.path}' is part of a joint folder already",
                help="join the folders that edgekit compile wrote",
            )
    # C macros and files on some systems do not tell upper from lower case.
    names: dict[str, Output] = {}
    for folder in opened:
        other = names.setdefault(folder.name.lower(), folder)
        if other is not folder or folder.name.lower() in TAKEN:
            what = "a file of every such folder"
            if other is not folder:
                what = f"that in '{other.path}'"
            raise EdgekitError(
                "E345",
                f"the model in '{folder.path}' is called '{folder.name}', as is {what}",
                help="rename the model's file and compile it again: C functions have its name",
            )
    targets = {folder.target for folder in opened}
    if len(targets) > 1:
        raise EdgekitError(
            "E346",
            f"{len(opened)} models for {len(targets)} targets cannot run on one core",
            details=[f"{folder.path}: {folder.target}" for folder in opened],
            help="compile all of them with one --target",
        )
    if find_target(opened[0].target).gpu:
        raise EdgekitError(
            "E346",
            f"models for {opened[0].target} have a GPU's memory each",
            help="compile for a CPU to join, or use each model by itself",
        )
    return opened


def _member_files(
    part: Rebuilt, program: Any, bundle: Bundle, board: Board, compiler: str
) -> Iterator[tuple[str, bytes | str]]:
    """A model's output folder with `program` in the place of its own, which has run on `board`."""
    import json

    files = model_files(part.graph, program, bundle)
    yield from files.items()
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        measured = measure(Path(folder), files, part.folder.name, board, bundle, compiler)
    old = part.folder.description
    report = report_of(program, bundle, board, measured, None).as_json()
    known = old["report"] if isinstance(old.get("report"), dict) else {}
    report |= {key: known[key] for key in _KEPT if key in known}
    about = {
        **old,
        "hash": bundle.hash.hex(),
        "compiler": compiler,
        "joint": True,
        "report": report,
    }
    yield MARKER, json.dumps(about, indent=1) + "\n"


def _flash_of(sources: dict[str, str], board: Board, compiler: str) -> int:
    """Bytes of flash that ``kernels.c`` of `sources` takes on `board`."""
    with tempfile.TemporaryDirectory(prefix="edgekit-") as name:
        folder = Path(name)
        for file in ("kernels.c", "kernels.h"):
            (folder / file).write_text(sources[file])
        path = find_compiler(compiler, board.target).compile(
            folder / "kernels.c",
            include=[folder, firmware_folder() / "include", firmware_folder() / "npu"],
            opt=board.target.kernel_opt,
        )
    return read_sizes(path).flash
