"""A configuration of the accelerator as a target of one's own, with its two boards.

The files are edgekit's own of npu64 with other names and sizes. `EDGEKIT_TARGETS` names their
folder.
"""

from __future__ import annotations

import re
from pathlib import Path

import targets
from edgekit.errors import EdgekitError
from targets.npu.config import CONFIGURATIONS, SIZES, Accelerator

_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
#: The files that are followed: of a target and of its boards.
_TARGET, _BOARDS = "npu64", ("virtual-npu64", "sim-ecp5-soc")


def target_files(config: Accelerator, path: Path) -> dict[Path, str]:
    """Texts of ``FOLDER/NAME.toml`` and of two boards in ``FOLDER/boards``.

    Args:
        config: the sizes.
        path: ``FOLDER/NAME.toml``. NAME becomes the target's.

    Raises:
        EdgekitError: E410 where NAME is no name, or one of edgekit's.
    """
    name = path.stem
    if path.suffix != ".toml" or not _NAME.fullmatch(name):
        raise EdgekitError(
            "E410",
            f"'{path.name}' is no name for a target's file",
            help="small letters, digits and hyphens, a letter first, then .toml: my-npu.toml",
        )
    boards = dict(zip(_BOARDS, (f"virtual-{name}", f"sim-{name}-soc"), strict=True))
    ours = {*targets.targets(), *CONFIGURATIONS}
    if name in ours or not targets.boards().keys().isdisjoint(boards.values()):
        raise EdgekitError(
            "E410",
            f"'{name}' is the name of a target of edgekit",
            help="choose another name",
        )
    folder = Path(str(targets.__file__)).parent
    what = f"accelerator of {config.macs} multiply-accumulates per cycle"
    sizes = "".join(f"{key} = {getattr(config, key)}\n" for key in SIZES)
    sizes += f"tables = {str(config.tables).lower()}\n"
    sizes += f"lut_multipliers = {str(config.lut_multipliers).lower()}\n"
    text = _with(
        (folder / f"{_TARGET}.toml").read_text(encoding="utf-8"),
        name=name,
        description=f"RISC-V rv32im (VexRiscv) with an {what}",
        default_board=boards[_BOARDS[0]],
    )
    text = re.sub(r"^accelerator = .*\n", "", text, flags=re.MULTILINE)
    files = {path: text.replace("[zig]", f"[accelerator]\n{sizes}\n[zig]", 1)}
    for board, own in boards.items():
        board_text = (folder / "boards" / f"{board}.toml").read_text(encoding="utf-8")
        files[path.parent / "boards" / f"{own}.toml"] = _with(
            board_text,
            name=own,
            description=f"As {board}, with an {what}",
            target=name,
            tested=f"Made by edgekit accelerator --save; {board} is tested.",
        )
    return files


def _with(text: str, **values: str) -> str:
    """A TOML file with other texts for some of its first keys."""
    for key, value in values.items():
        text, found = re.subn(
            rf"^{key} = .*$", f'{key} = "{value}"', text, count=1, flags=re.MULTILINE
        )
        assert found == 1, key
    return text


__all__ = ["target_files"]
