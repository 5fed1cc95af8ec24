"""Routines with MVE instructions: assembled on a core that has them, C statements elsewhere.

The vector registers q0 to q7 are variables there and each instruction a function of ek_mve.h. q4 to
q7 belong to the caller (`Routine.enter` and `leave` save them here).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from codegen.thumb import as_c, routine
from codegen.thumb.as_c import UnknownInstruction, operands, register_list

#: Core registers that VMLADAV can sum into.
EVEN = ("r0", "r2", "r4", "r6", "r8", "r10", "r12", "lr")
SAVED_WORDS = 9 + 16
_LANES = re.compile(r"(q\d)\[(\d)\]")
_BITS = {"8": 8, "16": 16, "32": 32}
#: Instructions that read their destination.
_ACCUMULATE = ("vqdmlah", "vqmovnb", "vqmovnt", "vmovnb", "vmovnt", "vmladava", "vmlas", "vaddva")


class MveRoutine(routine.Routine):
    """A `Routine` that may use vector instructions; predicated ones end in t and follow a vpst."""

    guard = "EK_MVE"

    def enter(self, words: int = 0) -> int:
        """As in a `Routine`, q4 to q7 too."""
        self("push {r4-r11, lr}", "vpush {d8-d15}")
        if words:
            self(f"sub sp, #{4 * words}")
        return 4 * (SAVED_WORDS + words)

    def leave(self, words: int = 0) -> None:
        if words:
            self(f"add sp, #{4 * words}")
        self("vpop {d8-d15}", "pop {r4-r11, pc}")

    @contextmanager
    def low_overhead_loop(self, name: str) -> Iterator[None]:
        """Repeat as often as lr says; lr is not to be touched inside."""
        self("dls lr, lr")
        with self.part(name) as first:
            yield
            self(f"le lr, {first}b")

    def statement(self, line: str) -> str:
        """As in a `Routine`; vector instructions are functions of ek_mve.h."""
        mnemonic, _, rest = line.partition(" ")
        args = operands(rest.strip())
        if mnemonic == "vpush":
            return "sp -= 16;"
        if mnemonic == "vpop":
            return "sp += 16;"
        if mnemonic == "ldm" and args[0] == "sp":
            return " ".join(f"{r} = sp[{i}];" for i, r in enumerate(register_list(args[1])))
        if mnemonic == "dls":
            return ";" if args[0] == args[1] else f"{args[0]} = {args[1]};"
        if mnemonic == "le":
            return f"{args[0]} -= 1; if ({args[0]} != 0) {{ goto L{args[1][:-1]}; }}"
        if mnemonic[0] != "v":
            return as_c.statement(line)
        return _vector(mnemonic, args)

    def declarations(self, text: str) -> list[str]:
        """The vector registers and the predicate that are used."""
        used = sorted(set(re.findall(r"\bq[0-7]\b", text)))
        lines = [f"ek_m_q {q} = ek_m_zero(); (void){q};" for q in used]
        if re.search(r"\bp0\b", text):
            lines.append("uint32_t p0 = 0u;")
        return lines


def _vector(mnemonic: str, args: list[str]) -> str:
    name, _, kind = mnemonic.partition(".")
    if name == "vpst" or name.startswith("vpst"):
        return ";"
    if name == "vctp":
        return f"p0 = ek_m_vctp_{kind}(EK_T_I({args[0]}));"
    if name == "vmov":
        return _moves(args)
    if name.startswith(("vldr", "vstr")):
        return _memory(name, kind, args)
    if re.fullmatch(r"vst4\d", name):
        base = args[1].rstrip("!").strip("[]")
        after = f" {base} += 64u;" if args[1].endswith("!") else ""
        return f"ek_m_vst4_8({base}, {args[0].strip('{}')});{after}"
    if name == "vshlc":
        q, carry, n = args[0], args[1], args[2][1:]
        return (
            f"{{ const int32_t carry = EK_T_I({carry}); "
            f"{carry} = EK_T_R(ek_m_vshlc_out({q}, {n})); "
            f"{q} = ek_m_vshlc({q}, carry, {n}); }}"
        )
    function = f"ek_m_{name}_{kind}"
    if name in ("vmladav", "vaddv"):
        return f"{args[0]} = EK_T_R({function.replace('v_', 'va_')}(0, {', '.join(args[1:])}));"
    if name in ("vmladava", "vaddva"):
        return f"{args[0]} = EK_T_R({function}(EK_T_I({args[0]}), {', '.join(args[1:])}));"
    if name == "vdup":
        return f"{args[0]} = ek_m_dup_{kind}(EK_T_I({args[1]}));"
    if not kind:
        return f"{args[0]} = {function.removesuffix('_')}({', '.join(args[1:])});"
    bits = _BITS[kind.lstrip("siu")]
    if len(args) == 2 and name in ("vrshl",):
        args = [args[0], *args]
    sources = [_source(a, bits) for a in args[1:]]
    if name in _ACCUMULATE:
        sources = [args[0], *sources]
    return f"{args[0]} = {function}({', '.join(sources)});"


def _source(operand: str, bits: int) -> str:
    if operand[0] == "q":
        return operand
    if operand[0] == "#":
        return operand[1:]
    return f"ek_m_dup_{bits}(EK_T_I({operand}))"


def _moves(args: list[str]) -> str:
    """Two lanes, the upper one first, to or from two core registers, the lower one's first."""
    if len(args) != 4:
        raise UnknownInstruction(f"vmov {args}")
    parts = []
    for to, source in ((args[0], args[3]), (args[1], args[2])):
        lane = _LANES.fullmatch(to)
        if lane:
            parts.append(f"{lane[1]}.w[{lane[2]}] = EK_T_I({source});")
        elif lane := _LANES.fullmatch(source):
            parts.append(f"{to} = EK_T_R({lane[1]}.w[{lane[2]}]);")
    return " ".join(parts)


def _memory(name: str, kind: str, args: list[str]) -> str:
    predicated = name.endswith("t")
    function = f"ek_m_{name.removesuffix('t')}_{kind}" + ("_p" if predicated else "")
    extra = ", p0" if predicated else ""
    inside = operands(args[1].rstrip("!").strip("[]"))
    base, before, after, at = inside[0], "", "", inside[0]
    if len(inside) > 1 and inside[1][0] == "q":
        function += "_at"
        at = f"{base}, {inside[1]}"
    elif args[1].endswith("!"):
        before = f"{base} += (ek_t_reg)(intptr_t){inside[1][1:]}; "
    elif len(inside) > 1:
        at = f"{base} + (ek_t_reg)(intptr_t){inside[1][1:]}"
    elif len(args) > 2:
        after = f" {base} += (ek_t_reg)(intptr_t){args[2][1:]};"
    if name.startswith("vldr"):
        return f"{before}{args[0]} = {function}({at}{extra});{after}"
    return f"{before}{function}({at}, {args[0]}{extra});{after}"
