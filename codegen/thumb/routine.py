"""A routine in Thumb-2: instructions, loops, and what they cost.

A `Routine` is one C function. Its instructions are assembled on a core with the DSP extension and
become C elsewhere (`codegen.thumb.as_c`), so that there is one source of what a kernel does. Loops
are structured, hence the number of executed instructions is known for any trip counts.

Arguments arrive as the procedure call standard has them: r0 to r3, further ones on the stack. A
routine that changes r4 to r11 saves them (`Routine.enter` and `Routine.leave`). Spilled registers
are whole words of the stack; nothing else may be addressed through sp.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction

from codegen.kernel import Cost
from codegen.routine import Block, StructuredRoutine
from codegen.thumb.as_c import REGISTERS, operands, register_list, statement

#: Words of the stack that the C form has: saved registers, spills and stack arguments.
STACK_WORDS = 64
REFILL = 2  # cycles of a taken branch's pipeline refill, as edgekit.devices.emulators.cycles has it


class Routine(StructuredRoutine):
    """A `StructuredRoutine` in unified syntax, with a form in C."""

    #: Macro of the cores that assemble the instructions.
    guard = "EK_THUMB_DSP"

    def constant(self, register: str, value: int) -> None:
        """Load a 32-bit constant."""
        value &= 0xFFFFFFFF
        if value < 1 << 16:
            self(f"movw {register}, #{value}")
        elif (~value & 0xFFFFFFFF) < 256:
            self(f"mvn {register}, #{~value & 0xFFFFFFFF}")
        else:
            self(f"movw {register}, #{value & 0xFFFF}", f"movt {register}, #{value >> 16}")

    @contextmanager
    def until_aligned(self, name: str, pointer: str, alignment: int) -> Iterator[None]:
        """Repeat until a pointer to words is aligned at a round's end.

        `alignment` is a power of two to 1024, which the immediate of TST holds.
        """
        with self.part(name) as first:
            yield
            self(f"tst {pointer}, #{alignment - 4}", f"bne {first}b")

    def jump(self, register: str, labels: Sequence[int]) -> None:
        """Jump forward to ``labels[register]``."""
        table = self.label()
        offsets = ", ".join(f"({label}f - {table}b) / 2" for label in labels)
        self(f"tbh [pc, {register}, lsl #1]; {table}: .short {offsets}")

    def enter(self, words: int = 0) -> int:
        """Save r4 to r11 and lr, reserve `words` on the stack; sp offset of the fifth argument."""
        self("push {r4-r11, lr}")
        if words:
            self(f"sub sp, #{4 * words}")
        return 4 * (9 + words)

    def leave(self, words: int = 0) -> None:
        """Undo `enter` and return."""
        if words:
            self(f"add sp, #{4 * words}")
        self("pop {r4-r11, pc}")

    # ---- results

    def cost(self, **trips: int | Fraction) -> Cost:
        """Instructions and estimated cycles of one call, given each loop's trips by name.

        Trips of `when` and `part` may be shares of one. The caller's share of the call (setting
        arguments) is not in it.
        """
        return Cost(*map(round, _cost(self.body, trips)))

    def text(self) -> str:
        """The function in C: naked with its instructions, or as C statements."""
        declared = ", ".join(f"{p} EK_UNUSED" for p in self.parameters)
        plain = ", ".join(self.parameters)
        assembly = "\n".join(f'        "{line}\\n"' for line in self.lines)
        return (
            f"#if defined({self.guard})\n"
            f"EK_NAKED void {self.name}({declared})\n{{\n    __asm volatile(\n{assembly});\n}}\n"
            f"#else\nstatic void {self.name}({plain})\n{{\n{self._c_body()}}}\n#endif\n"
        )

    def statement(self, line: str) -> str:
        """An instruction or label as C."""
        return statement(line)

    def declarations(self, text: str) -> list[str]:
        """What the C form `text` needs besides the core registers."""
        return []

    def _c_body(self) -> str:
        statements = [self.statement(line) for line in self.lines]
        text = "\n".join(statements)
        targets = set(re.findall(r"goto L(\d+);", text))
        statements = [
            s for s in statements if not (m := re.fullmatch(r"L(\d+):;", s)) or m[1] in targets
        ]
        used = [r for r in REGISTERS if re.search(rf"\b{r}\b", text)]
        names = [re.split(r"[ *]+", p)[-1] for p in self.parameters]
        values = {
            f"r{i}" if i < 4 else f"sp[{i - 4}]": _register(p, n)
            for i, (p, n) in enumerate(zip(self.parameters, names, strict=True))
        }
        lines = []
        if re.search(r"\bsp\b", text) or len(names) > 4:
            lines.append(f"ek_t_reg stack[{STACK_WORDS}];")
            lines.append(f"ek_t_reg *sp = stack + {STACK_WORDS - max(len(names) - 4, 0)};")
        if re.search(r"\bfa\b", text):
            lines.append("ek_t_reg fa = 0u, fb = 0u;")
        lines += self.declarations(text)
        lines += [f"ek_t_reg {r} = {values.get(r, '0u')};" for r in used]
        lines += [f"{place} = {value};" for place, value in values.items() if place[0] == "s"]
        unused = [n for i, n in enumerate(names) if i < 4 and f"r{i}" not in used]
        lines += [f"(void){n};" for n in unused]
        tail = [f"(void){r};" for r in used]
        return "".join(f"    {line}\n" for line in [*lines, *tail, *statements])


def _register(declaration: str, name: str) -> str:
    return f"(ek_t_reg){name}" if "*" in declaration else f"EK_T_R({name})"


def _cost(block: Block, trips: dict[str, int | Fraction]) -> tuple[int | Fraction, int | Fraction]:
    instructions: int | Fraction = 0
    cycles: int | Fraction = 0
    previous = ""
    for item in block.items:
        if isinstance(item, Block):
            rounds = trips[item.loop]
            inner_instructions, inner_cycles = _cost(item, trips)
            instructions += rounds * inner_instructions
            # The branch back refills the pipeline each time but the last.
            cycles += rounds * inner_cycles + max(rounds - 1, 0) * REFILL
            previous = ""
        elif not item.endswith(":"):
            instructions += 1
            cycles += _cycles(item, previous)
            previous = item.partition(" ")[0]
    return instructions, cycles


def _cycles(line: str, previous: str) -> int:
    """Cycles of one instruction, by the rules of `edgekit.devices.emulators.cycles` (Cortex-M4)."""
    mnemonic, _, rest = line.partition(" ")
    mnemonic = mnemonic.removesuffix(".w")
    if mnemonic in ("ldrd", "strd"):
        return 3
    if mnemonic in ("push", "pop"):
        refill = REFILL if "pc" in rest else 0
        return 1 + len(register_list(rest)) + refill
    if mnemonic.startswith(("ldm", "stm")):
        return 1 + len(register_list(operands(rest)[1]))
    if mnemonic.startswith("ldr"):
        return 1 if previous.startswith(("ldr", "str")) else 2
    if mnemonic in ("b", "bx"):
        return 1 + REFILL
    if mnemonic == "tbh":
        return 2 + REFILL
    return 6 if mnemonic == "sdiv" else 1
