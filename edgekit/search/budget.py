"""What a compiled model may cost, and how good it has to be."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path

from edgekit.errors import EdgekitError, did_you_mean
from edgekit.report import Report

#: Costs without a limit may grow this much before a mixture counts as one that trades them in.
SLACK = 1.1


@dataclass(frozen=True)
class Budget:
    """Limits; None is no limit.

    Attributes:
        max_flash: bytes of kernels, runtime and bundle.
        max_ram: bytes of arena, runtime and stack.
        max_latency: milliseconds of one inference on the target's reference board, estimated.
        max_step: milliseconds of the longest kernel, hence of a call of ek_step, estimated as well.
        min_agreement: percent of samples with the float network's class.
        min_sqnr: dB of the logits against the float network's.
    """

    max_flash: int | None = None
    max_ram: int | None = None
    max_latency: float | None = None
    max_step: float | None = None
    min_agreement: float | None = None
    min_sqnr: float | None = None

    @property
    def judged(self) -> bool:
        """Whether there is a limit on how good the model has to be."""
        return self.min_agreement is not None or self.min_sqnr is not None

    def __bool__(self) -> bool:
        return any(getattr(self, f.name) is not None for f in fields(self))

    def costs(self, report: Report) -> Iterator[tuple[str, float, float, str]]:
        """(what, need, limit, unit) of every limited cost."""
        if self.max_flash is not None:
            yield "flash", report.flash_bytes, self.max_flash, "B"
        if self.max_ram is not None:
            yield "RAM", report.ram_bytes, self.max_ram, "B"
        if self.max_latency is not None and report.latency_ms is not None:
            yield "latency", report.latency_ms, self.max_latency, "ms"
        step = report.longest_step
        if self.max_step is not None and step is not None and step.ms is not None:
            yield "longest step", step.ms, self.max_step, "ms"

    def thrifty(self, report: Report) -> Budget:
        """This budget with what `report` takes, and a little, where it has no limit."""
        latency = report.latency_ms
        return replace(
            self,
            max_flash=self.max_flash or int(report.flash_bytes * SLACK),
            max_ram=self.max_ram or int(report.ram_bytes * SLACK),
            max_latency=self.max_latency or (latency * SLACK if latency else None),
        )

    def excess(self, report: Report) -> list[str]:
        """What `report` exceeds, each with both numbers; empty where it keeps the budget."""
        found = [
            f"{what}: needs {number(need, unit)}, the budget is {number(limit, unit)}, "
            f"{number(need - limit, unit)} too much"
            for what, need, limit, unit in self.costs(report)
            if need > limit
        ]
        if self.min_agreement is not None:
            have = report.agreement
            if have is None:
                found.append("agreement: the model's output is no vector of scores")
            elif 100 * have < self.min_agreement:
                found.append(
                    f"agreement: {100 * have:.2f} % on {report.agreement_samples} samples, "
                    f"at least {self.min_agreement:g} % are wanted"
                )
        if self.min_sqnr is not None and (report.judged_sqnr_db or 0.0) < self.min_sqnr:
            found.append(
                f"SQNR: {report.judged_sqnr_db or 0.0:.1f} dB on {report.agreement_samples} "
                f"samples, at least {self.min_sqnr:g} dB are wanted"
            )
        return found


def number(value: float, unit: str) -> str:
    return f"{value:.0f} B" if unit == "B" else f"{value:.3f} {unit}"


def check_budget(budget: Budget) -> Budget:
    """Refuse limits that nothing can meet, by name.

    Raises:
        EdgekitError: E290.
    """
    for field in fields(budget):
        value = getattr(budget, field.name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
            raise EdgekitError(
                "E290", f"{field.name} is {value!r}", help="budgets are numbers above 0"
            )
    if budget.min_agreement is not None and budget.min_agreement > 100:
        raise EdgekitError(
            "E290",
            f"min_agreement is {budget.min_agreement:g}, a percentage is at most 100",
            help="99 asks for the float network's class on 99 of 100 samples",
        )
    return budget


def read_budget(path: Path) -> Budget:
    """A budget from a TOML file with some of the keys `Budget` has.

    Raises:
        EdgekitError: E290 where the file cannot be read, has other keys, or values that are no
            limits.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise EdgekitError(
            "E290", f"cannot read the budget file '{path}': {error.strerror or error}"
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise EdgekitError(
            "E290", f"the budget file '{path}' is no TOML: {error}", help="max_flash = 40000"
        ) from None
    known = [f.name for f in fields(Budget)]
    for key in content:
        if key not in known:
            raise EdgekitError(
                "E290", f"the budget file '{path}' has the key '{key}'",
                help=did_you_mean(key, known),
            )  # fmt: skip
    return check_budget(Budget(**content))
