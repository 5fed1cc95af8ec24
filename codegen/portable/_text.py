"""What the text kernels share."""

from __future__ import annotations

from codegen.kernel import NotApplicable, Operand
from edgekit.graph import Value


def integer(value: Value, role: str, name: str) -> Operand:
    """An int8 or int16 operand; NotApplicable for other dtypes."""
    if value.dtype not in ("int8", "int16"):
        raise NotApplicable(f"{value.dtype} operands")
    return Operand(name, value.dtype, value.size, role)


def requantize(acc: str, dtype: str, p: dict[str, object]) -> str:
    """C text of the result of an int32 accumulator; `p` has the integers by name."""
    suffix = "16" if dtype == "int16" else ""
    numbers = ", ".join(str(p[k]) for k in ("multiplier", "shift", "zero_point", "qmin", "qmax"))
    return f"ek_requantize{suffix}({acc}, {numbers})"
