"""Register steps in board files, one line each: ``set 0x40023830 0x1 # RCC.AHB1ENR: GPIOA``."""

from __future__ import annotations

from targets.model import Step

OPS = ("write", "set", "clear", "wait")
_WORD = 0xFFFF_FFFF
_FORM = "'OP ADDRESS VALUE [mask MASK] [# PERIPHERAL.REGISTER: why]'"


def parse_step(text: str) -> Step:
    """One step; raises ValueError with what is wrong.

    ::

        write ADDRESS VALUE              the whole register
        write ADDRESS VALUE mask MASK    only the bits of MASK, the others stay
        set ADDRESS BITS                 those bits become 1
        clear ADDRESS BITS               those bits become 0
        wait ADDRESS BITS                until those bits are 1
        wait ADDRESS VALUE mask MASK     until the bits of MASK are those of VALUE
    """
    code, _, comment = text.partition("#")
    words = code.split()
    if len(words) not in (3, 5) or (len(words) == 5 and words[3] != "mask"):
        raise ValueError(f"'{code.strip()}' is not of the form {_FORM}")
    op = words[0]
    if op not in OPS:
        raise ValueError(f"'{op}' is none of: {', '.join(OPS)}")
    address, value = _number(words[1]), _number(words[2])
    if address % 4:
        raise ValueError(f"address {address:#x} is not a multiple of 4")
    if op in ("set", "clear") and (len(words) == 5 or value == 0):
        raise ValueError(f"'{op}' takes the bits to {op}, at least one, and no mask")
    mask = _number(words[4]) if len(words) == 5 else _WORD if op == "write" else value
    if mask == 0:
        raise ValueError(f"'{op}' looks at no bit: its mask is 0")
    if value & ~mask:
        raise ValueError(f"value {value:#x} has bits outside mask {mask:#x}")
    return Step(op, address, value, mask, comment.strip())


def _number(word: str) -> int:
    try:
        number = int(word, 0)
    except ValueError:
        raise ValueError(f"'{word}' is not a number") from None
    if not 0 <= number <= _WORD:
        raise ValueError(f"{word} does not fit 32 bits")
    return number
