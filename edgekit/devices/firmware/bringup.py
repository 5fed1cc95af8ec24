"""The register steps of a board's file as C: tables in flash, run before the UART opens."""

from __future__ import annotations

from pathlib import Path

from edgekit.toolchain.cache import cache_dir, key_of, write_atomic
from targets import Board, Step

_OPS = {"write": "EK_STEP_WRITE", "set": "EK_STEP_CHANGE", "clear": "EK_STEP_CHANGE"}
_HEAD = """\
/* Bring-up of the board "{name}", generated from its file. */
#include "ek_board.h"
#include "ek_register.h"
"""
# A boot loader may leave VTOR at its own vectors. Armv6-M need not have it and ignores the write.
_VECTORS = "  EK_REG(0xE000ED08u) = (uint32_t)(uintptr_t)__vectors_start; /* SCB.VTOR */\n"


def board_macros(board: Board) -> dict[str, str]:
    """EK_BOARD_SETUP, EK_BOARD_COLD and the trigger pin, where the board has them."""
    macros = {}
    if board.boot == "esp32c3":
        macros["EK_TRAP_ALIGN"] = "256"  # its mtvec has no lower bits
    if has_setup(board):
        macros["EK_BOARD_SETUP"] = ""
    if board.cold:
        macros["EK_BOARD_COLD"] = ""
    if board.trigger:
        macros |= {
            "EK_TRIGGER_SET": f"{board.trigger.set:#x}u",
            "EK_TRIGGER_CLEAR": f"{board.trigger.clear:#x}u",
            "EK_TRIGGER_MASK": f"{board.trigger.mask:#x}u",
            "EK_TRIGGER_CLEAR_SHIFT": f"{board.trigger.clear_shift}",
        }
    return macros


def has_setup(board: Board) -> bool:
    """Whether anything is done before the UART opens."""
    return bool(board.setup or board.boot or board.caches)


def board_source(board: Board) -> str:
    """board.c: ek_board_setup() and ek_board_cold(), "" where the board needs neither."""
    if not board_macros(board).keys() & {"EK_BOARD_SETUP", "EK_BOARD_COLD"}:
        return ""
    parts = [_HEAD.format(name=board.name)]
    if has_setup(board):
        arm = board.target.port == "cortex_m"
        if arm:
            parts.append("extern uint32_t __vectors_start[];\n")
        parts += [_table("setup", board.setup), "int32_t ek_board_setup(void) {\n"]
        parts.append(_VECTORS if arm else "")
        parts.append(f"  {'const int32_t status =' if board.caches else 'return'} ")
        parts.append(f"{_take('setup', board.setup)};\n")
        if board.caches:
            parts.append("  ek_caches_on();\n  return status;\n")
        parts.append("}\n")
    if board.cold:
        parts += [_table("cold", board.cold), "void ek_board_cold(void) {\n"]
        parts.append(f"  (void){_take('cold', board.cold)};\n}}\n")
    return "".join(parts)


def _table(name: str, steps: tuple[Step, ...]) -> str:
    if not steps:
        return ""
    rows = "".join(f"    {_row(step)}\n" for step in steps)
    return f"\nstatic const ek_step_t {name}[] = {{\n{rows}}};\n\n"


def _row(step: Step) -> str:
    op = "EK_STEP_WAIT" if step.op == "wait" else _OPS[step.op]
    if step.op == "write" and step.mask != 0xFFFF_FFFF:
        op = "EK_STEP_CHANGE"
    value = 0 if step.op == "clear" else step.value
    comment = step.comment.replace("*/", "* /").replace("/*", "/ *")
    row = f"{{{step.address:#x}u | {op}, {step.mask:#x}u, {value:#x}u}},"
    return f"{row} /* {comment} */" if comment else row


def _take(name: str, steps: tuple[Step, ...]) -> str:
    return f"ek_steps_take({name}, {len(steps)}u)" if steps else "0"


def bringup_sources(board: Board, ports: Path) -> list[Path]:
    """The C files of a board's bring-up; none where its file has no steps.

    Args:
        ports: the folder firmware/ports.
    """
    text = board_source(board)
    if not text:
        return []
    path = cache_dir() / "boards" / key_of([text.encode()])[:32] / "board.c"
    if not path.exists():
        write_atomic(path, text.encode())
    return [path, ports / "ek_board.c", *([ports / "ek_cache.c"] if board.caches else [])]
