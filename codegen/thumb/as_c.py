"""Thumb-2 instructions as C statements, one to one.

A routine is written once, as instructions. On a core with the DSP extension they are assembled;
on a host each becomes a statement on variables named like the registers, so that the very same
algorithm runs there, under sanitizers too. Registers are pointer-sized: addition and subtraction
work on all of their bits (pointers), everything else on the lower 32 (results are sign-extended).
The stack is an array of registers. What is not in the table below is a bug in a template:
`UnknownInstruction`.
"""

from __future__ import annotations

import re
from functools import cache

REGISTERS = [f"r{i}" for i in range(13)] + ["lr"]
CONDITIONS = {
    "eq": "fa == fb",
    "ne": "fa != fb",
    "hs": "fa >= fb",
    "lo": "fa < fb",
    "hi": "fa > fb",
    "ls": "fa <= fb",
    "lt": "(intptr_t)fa < (intptr_t)fb",
    "ge": "(intptr_t)fa >= (intptr_t)fb",
    "gt": "(intptr_t)fa > (intptr_t)fb",
    "le": "(intptr_t)fa <= (intptr_t)fb",
}
# Results of these are 32-bit expressions of 32-bit operands; {0}.. are the source operands as
# int32_t expressions.
FUNCTIONS = {
    "mul": "(int32_t)((uint32_t){0} * (uint32_t){1})",
    "mla": "(int32_t)((uint32_t){0} * (uint32_t){1} + (uint32_t){2})",
    "mls": "(int32_t)((uint32_t){2} - (uint32_t){0} * (uint32_t){1})",
    "and": "({0} & {1})",
    "orr": "({0} | {1})",
    "eor": "({0} ^ {1})",
    "bic": "({0} & ~{1})",
    "mvn": "(~{0})",
    "lsl": "(int32_t)((uint32_t){0} << {1})",
    "lsr": "(int32_t)((uint32_t){0} >> {1})",
    "asr": "({0} >> {1})",
    "ror": "ek_t_ror({0}, {1})",
    "sxtb": "(int32_t)(int8_t){0}",
    "sxth": "(int32_t)(int16_t){0}",
    "uxtb": "(int32_t)(uint8_t){0}",
    "uxth": "(int32_t)(uint16_t){0}",
    "rev16": "ek_t_rev16({0})",
    "sxtb16": "ek_t_sxtb16({0})",
    "uxtb16": "ek_t_uxtb16({0})",
    "sxtab16": "ek_t_sadd16({0}, ek_t_sxtb16({1}))",
    "uxtab16": "ek_t_sadd16({0}, ek_t_uxtb16({1}))",
    "sadd16": "ek_t_sadd16({0}, {1})",
    "ssub16": "ek_t_ssub16({0}, {1})",
    "qadd16": "ek_t_qadd16({0}, {1})",
    "qsub16": "ek_t_qsub16({0}, {1})",
    "smuad": "ek_smlad({0}, {1}, 0)",
    "smlad": "ek_smlad({0}, {1}, {2})",
    "smladx": "ek_smlad({0}, ek_t_ror({1}, 16), {2})",
    "smuadx": "ek_smlad({0}, ek_t_ror({1}, 16), 0)",
    "smulbb": "ek_t_smul(ek_t_b({0}), ek_t_b({1}))",
    "smulbt": "ek_t_smul(ek_t_b({0}), ek_t_t({1}))",
    "smultb": "ek_t_smul(ek_t_t({0}), ek_t_b({1}))",
    "smultt": "ek_t_smul(ek_t_t({0}), ek_t_t({1}))",
    "smlabb": "ek_t_add({2}, ek_t_smul(ek_t_b({0}), ek_t_b({1})))",
    "smlabt": "ek_t_add({2}, ek_t_smul(ek_t_b({0}), ek_t_t({1})))",
    "smlatb": "ek_t_add({2}, ek_t_smul(ek_t_t({0}), ek_t_b({1})))",
    "smlatt": "ek_t_add({2}, ek_t_smul(ek_t_t({0}), ek_t_t({1})))",
    "smulwb": "ek_t_smulw({0}, ek_t_b({1}))",
    "smulwt": "ek_t_smulw({0}, ek_t_t({1}))",
    "smlawb": "ek_t_add({2}, ek_t_smulw({0}, ek_t_b({1})))",
    "smlawt": "ek_t_add({2}, ek_t_smulw({0}, ek_t_t({1})))",
    "smmul": "ek_t_smmul({0}, {1})",
    "smmulr": "ek_smmulr({0}, {1})",
    "smmla": "ek_t_smmla({0}, {1}, {2})",
    "smmlar": "ek_smmlar({0}, {1}, {2})",
    "sdiv": "({0} / {1})",
}
_SHIFT = re.compile(r"(lsl|lsr|asr|ror) #(\d+)")
_LOADS = {"ldr": "ek_t_ldr", "ldrb": "ek_t_ldrb", "ldrh": "ek_t_ldrh"}
_LOADS |= {"ldrsb": "ek_t_ldrsb", "ldrsh": "ek_t_ldrsh"}
_STORES = {"str": "ek_t_str", "strb": "ek_t_strb", "strh": "ek_t_strh"}


class UnknownInstruction(Exception):
    """A template uses an instruction that has no C form yet: add it to the table."""


def operands(text: str) -> list[str]:
    """Operands of an instruction: split at commas outside brackets and braces."""
    return [part.strip() for part in re.split(r",(?![^\[{]*[\]}])", text)] if text else []


def register_list(text: str) -> list[str]:
    """``{r4-r7, lr}`` as names in ascending order."""
    names = []
    for part in text.strip("{} ").split(","):
        first, _, last = part.strip().partition("-")
        if last:
            names += [f"r{i}" for i in range(int(first[1:]), int(last[1:]) + 1)]
        else:
            names.append(first)
    return names


@cache
def statement(line: str) -> str:
    """One instruction, or a label (``12:``), as C.

    Raises:
        UnknownInstruction: where the table does not have it.
    """
    if line.endswith(":"):
        return f"L{line[:-1]}:;"
    mnemonic, _, rest = line.partition(" ")
    if mnemonic == "tbh":
        return _table_branch(rest)
    mnemonic = mnemonic.removesuffix(".w")
    args = operands(rest.strip())
    for form in (_branch, _stack, _memory, _many, _add, _compare, _function):
        text = form(mnemonic, args)
        if text is not None:
            return text
    raise UnknownInstruction(line)


def _table_branch(rest: str) -> str:
    """TBH with its table in the same line, as `Routine.jump` writes it: jumps forward."""
    register = re.search(r"\[pc, (r\d+),", rest)
    if not register:
        raise UnknownInstruction(f"tbh {rest}")
    labels = re.findall(r"\((\d+)f", rest)
    cases = [f"case {i}: goto L{label};" for i, label in enumerate(labels[:-1])]
    return f"switch ({register[1]}) {{ {' '.join(cases)} default: goto L{labels[-1]}; }}"


def _value(operand: str, shift: str = "") -> str:
    """A source operand as an int32_t expression."""
    if operand.startswith("#"):
        return f"(int32_t){_number(operand)}"
    value = f"EK_T_I({operand})"
    if shift:
        kind, amount = _parse_shift(shift)
        value = FUNCTIONS[kind].format(value, amount)
    return value


def _number(operand: str) -> str:
    number = int(operand[1:], 0)
    return f"{number}u" if number > 2**31 - 1 else str(number)


def _parse_shift(text: str) -> tuple[str, str]:
    found = _SHIFT.fullmatch(text)
    if not found:
        raise UnknownInstruction(text)
    return found[1], found[2]


def _wide(operand: str, shift: str = "") -> str:
    """A source operand with all bits of a register, for pointers."""
    if operand.startswith("#"):
        return f"(ek_t_reg)(intptr_t){_number(operand)}"
    return f"EK_T_R({_value(operand, shift)})" if shift else operand


def _branch(mnemonic: str, args: list[str]) -> str | None:
    if mnemonic == "bx" and args == ["lr"]:
        return "return;"
    if mnemonic == "b":
        return f"goto L{args[0][:-1]};"
    if mnemonic[:1] == "b" and mnemonic[1:] in CONDITIONS and len(args) == 1:
        return f"if ({CONDITIONS[mnemonic[1:]]}) {{ goto L{args[0][:-1]}; }}"
    if mnemonic in ("cbz", "cbnz"):
        return f"if ({args[0]} {'==' if mnemonic == 'cbz' else '!='} 0) {{ goto L{args[1][:-1]}; }}"
    return None


def _stack(mnemonic: str, args: list[str]) -> str | None:
    if mnemonic == "push":
        names = register_list(args[0])
        return f"sp -= {len(names)}; " + " ".join(f"sp[{i}] = {n};" for i, n in enumerate(names))
    if mnemonic == "pop":
        names = register_list(args[0])
        text = " ".join(f"{n} = sp[{i}];" for i, n in enumerate(names) if n != "pc")
        return f"{text} sp += {len(names)};" + (" return;" if "pc" in names else "")
    if args[:1] == ["sp"] and mnemonic in ("add", "sub"):
        amount = int(args[-1][1:], 0)
        return f"sp {'+' if mnemonic == 'add' else '-'}= {amount // 4};"
    return None


def _memory(mnemonic: str, args: list[str]) -> str | None:
    pair = mnemonic in ("ldrd", "strd")
    load = mnemonic in _LOADS or mnemonic == "ldrd"
    if not load and mnemonic not in _STORES and mnemonic != "strd":
        return None
    registers, place = args[: 1 + pair], args[1 + pair :]
    inside = operands(place[0].rstrip("!").strip("[]"))
    base = inside[0]
    if base == "sp":
        if len(place) > 1 or place[0].endswith("!"):
            raise UnknownInstruction(f"{mnemonic} {args}")
        slot = int(inside[1][1:], 0) // 4 if len(inside) > 1 else 0
        return " ".join(
            f"{r} = sp[{slot + i}];" if load else f"sp[{slot + i}] = {r};"
            for i, r in enumerate(registers)
        )
    offset = _wide(*inside[1:]) if len(inside) > 1 else "0u"
    before, after, address = "", "", f"{base} + {offset}"
    if place[0].endswith("!"):
        before, address = f"{base} += {offset}; ", base
    elif len(place) > 1:
        after, address = f" {base} += {_wide(*place[1:])};", base
    if pair:
        before += f"EK_T_ALIGNED({address}); "
    # The address is taken first: the base may be among the loaded registers.
    before = f"{{ {before}const ek_t_reg at = {address}; "
    parts = []
    for i, r in enumerate(registers):
        where = f"at + {4 * i}u" if i else "at"
        if load:
            parts.append(f"{r} = EK_T_R({_LOADS.get(mnemonic, 'ek_t_ldr')}({where}));")
        else:
            parts.append(f"{_STORES.get(mnemonic, 'ek_t_str')}({where}, {_value(r)});")
    return before + " ".join(parts) + after + " }"


def _many(mnemonic: str, args: list[str]) -> str | None:
    if mnemonic not in ("ldm", "ldmia", "stm", "stmia"):
        return None
    base, names = args[0].rstrip("!"), register_list(args[1])
    if base == "sp":
        if args[0].endswith("!"):
            raise UnknownInstruction(f"{mnemonic} {args}")
        load = mnemonic.startswith("ldm")
        return " ".join(
            f"{r} = sp[{i}];" if load else f"sp[{i}] = {r};" for i, r in enumerate(names)
        )
    parts = [f"EK_T_ALIGNED({base});", f"const ek_t_reg at = {base};"]
    for i, r in enumerate(names):
        if mnemonic.startswith("ldm"):
            parts.append(f"{r} = EK_T_R(ek_t_ldr(at + {4 * i}u));")
        else:
            parts.append(f"ek_t_str(at + {4 * i}u, {_value(r)});")
    if args[0].endswith("!"):
        parts.append(f"{base} = at + {4 * len(names)}u;")
    return "{ " + " ".join(parts) + " }"


def _add(mnemonic: str, args: list[str]) -> str | None:
    flags = mnemonic.endswith("s") and mnemonic != "mls"
    bare = mnemonic.removesuffix("s") if flags else mnemonic
    if bare in ("movw", "mov"):
        return f"{args[0]} = {_wide(*args[1:])};" + (f" fa = {args[0]}; fb = 0;" if flags else "")
    if bare == "movt":
        high = int(args[1][1:], 0)
        return f"{args[0]} = EK_T_R(((uint32_t){args[0]} & 0xffffu) | ({high}u << 16));"
    if bare not in ("add", "sub", "rsb", "addw", "subw"):
        return None
    if len(args) == 2 or (len(args) == 3 and _SHIFT.fullmatch(args[2])):
        args = [args[0], *args]
    left, right = args[1], _wide(*args[2:])
    if bare == "rsb":
        left, right = right, left
    if not flags:
        return f"{args[0]} = {left} {'+' if bare.startswith('add') else '-'} {right};"
    if bare == "add":
        return f"{args[0]} = {left} + {right}; fa = {args[0]}; fb = 0;"
    return f"fa = {left}; fb = {right}; {args[0]} = fa - fb;"


def _compare(mnemonic: str, args: list[str]) -> str | None:
    if mnemonic == "cmp":
        return f"fa = {args[0]}; fb = {_wide(*args[1:])};"
    if mnemonic == "tst":
        return f"fa = EK_T_R({_value(args[0])} & {_value(*args[1:])}); fb = 0;"
    return None


def _function(mnemonic: str, args: list[str]) -> str | None:
    if mnemonic in ("ssat", "usat", "ssat16", "usat16"):
        source = _value(args[2], *args[3:])
        return f"{args[0]} = EK_T_R(ek_t_{mnemonic}({source}, {args[1][1:]}));"
    if mnemonic in ("pkhbt", "pkhtb"):
        return f"{args[0]} = EK_T_R(ek_t_{mnemonic}({_value(args[1])}, {_value(*args[2:])}));"
    if mnemonic in ("smlal", "smull", "umull"):
        low, high = args[:2]
        added = f", EK_T_U({low}), EK_T_U({high})" if mnemonic == "smlal" else ""
        value = f"ek_t_{mnemonic}({_value(args[2])}, {_value(args[3])}{added})"
        return (
            f"{{ const uint64_t wide = {value}; "
            f"{low} = EK_T_R((uint32_t)wide); {high} = EK_T_R((uint32_t)(wide >> 32)); }}"
        )
    flags = mnemonic not in FUNCTIONS and mnemonic.endswith("s")
    bare = mnemonic.removesuffix("s") if flags else mnemonic
    if bare not in FUNCTIONS:
        return None
    wanted = len(set(re.findall(r"\{(\d)\}", FUNCTIONS[bare])))
    sources = list(args[1:])
    shift = sources.pop() if sources and _SHIFT.fullmatch(sources[-1]) else ""
    if len(sources) < wanted:
        sources = [args[0], *sources]
    if len(sources) != wanted:
        raise UnknownInstruction(f"{mnemonic} {', '.join(args)}")
    values = [_value(s) for s in sources[:-1]] + [_value(sources[-1], shift)]
    if bare in ("lsl", "lsr", "asr") and sources[-1].startswith("#"):
        values[-1] = sources[-1][1:]
    elif bare in ("lsl", "lsr", "asr"):
        values[-1] = f"ek_t_amount({values[-1]})"
    text = f"{args[0]} = EK_T_R({FUNCTIONS[bare].format(*values)});"
    return text + (f" fa = {args[0]}; fb = 0;" if flags else "")
