"""The search: sensitivities, costs, an integer program, and every candidate built for real."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from edgekit.build import Build
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.judge import Judge
from edgekit.report import Report
from edgekit.search.allocate import Choice, Costs, Limits, allocate
from edgekit.search.budget import Budget, number
from edgekit.search.rows import Row, Search, best
from quantizer.sensitivity import Sensitivity

#: Shares of what four bits can save, and of what 16 bits can cost, that the table has rows for.
SHARES = (0.25, 0.5, 0.75)
#: How often the program is solved anew because a build costs more than was predicted.
ATTEMPTS = 6

Make = Callable[[Mapping[str, Any]], Build]


@dataclass
class _Bench:
    """Builds choices, each once, and judges them."""

    make: Make
    judge: Judge
    sensitivity: Sensitivity
    budget: Budget
    rows: list[Row]
    builds: list[Build]

    def row(self, name: str, choice: Choice, built: Build | None = None) -> int:
        """Index of the row of `choice`, which is built where it is new."""
        for i, known in enumerate(self.rows):
            if known.choice == choice:
                return i
        built = built or self.make(
            {"weight_bits": choice.weight_bits, "activation_bits": choice.activation_bits}
        )
        quality = self.judge.quality(built.graph)
        samples = self.judge.samples.count
        report = replace(
            built.report,
            agreement=quality.agreement,
            agreement_samples=samples,
            judged_sqnr_db=quality.sqnr_db,
        )
        self.builds.append(replace(built, report=report))
        saving = self.budget.thrifty(self.builds[0].report)
        self.rows.append(
            Row(
                name=name,
                choice=choice,
                flash_bytes=report.flash_bytes,
                ram_bytes=report.ram_bytes,
                latency_ms=report.latency_ms,
                step_ms=step.ms if (step := report.longest_step) else None,
                predicted_db=self.sensitivity.sqnr_db(choice.weight_bits, choice.activation_bits),
                sqnr_db=quality.sqnr_db,
                agreement=quality.agreement,
                excess=tuple(self.budget.excess(report)),
                thrifty=not any(need > limit for _, need, limit, _ in saving.costs(report)),
            )
        )
        return len(self.rows) - 1


def search(
    sensitivity: Sensitivity,
    judge: Judge,
    budget: Budget,
    make: Make,
    plain: Build,
    *,
    judged_on: str,
    progress: Callable[[str, float], None] | None = None,
) -> tuple[Build, Search]:
    """The best mixture of 4- and 8-bit weights and 8- and 16-bit tensors within `budget`.

    Args:
        sensitivity: of the float network.
        judge: compares a quantized network with the float one.
        make: quantizes with the given ``weight_bits`` and ``activation_bits`` and builds.
        plain: the build with 8 bits everywhere.
        judged_on: what the judge's samples are, for the report.

    Returns:
        The build that was taken, and the table with it.

    Raises:
        EdgekitError: E314 where no mixture keeps the budget: which limit, and by how much.
    """
    say = progress or (lambda stage, share: None)
    bench = _Bench(make, judge, sensitivity, budget, [], [])
    narrow = frozenset(name for name, by_bits in sensitivity.weights.items() if 4 in by_bits)
    wide = frozenset(sensitivity.tensors)
    planned = 4 + 2 * len(SHARES) + 1

    def tell(stage: str) -> None:
        say(f"search: {stage}", min(len(bench.rows) / planned, 1.0))

    anchors = {
        "int8": Choice(),
        "int4": Choice(narrow=narrow),
        "16x8": Choice(wide=wide),
        "16x4": Choice(narrow, wide),
    }
    found_at = []
    for name, choice in anchors.items():
        tell(name)
        found_at.append(bench.row(name, choice, plain if name == "int8" else None))
    # Anchors may be one and the same: small networks have no layer that may have four bits.
    costs = _costs([bench.builds[i] for i in found_at], sensitivity)
    for limits, what in _sweep(costs, anchors):
        found = allocate(sensitivity, costs, limits)
        if found is not None:
            tell(what)
            bench.row(what, found)
    for wanted in (budget.thrifty(bench.builds[0].report), budget):
        _within(bench, costs, wanted, tell)
    chosen = best(bench.rows, budget)
    if chosen is None:
        raise _impossible(bench)
    table = Search(tuple(bench.rows), chosen, budget, judge.samples.count, judged_on)
    return bench.builds[chosen], table


def _sweep(costs: Costs, anchors: Mapping[str, Choice]) -> list[tuple[Limits, str]]:
    """Rows between the anchors: part of the four-bit saving, part of the 16-bit cost."""
    least, arena = costs.flash_of(anchors["int4"]), costs.arena_of(anchors["int8"])
    most = costs.arena_of(anchors["16x8"])
    rows = []
    for share in SHARES:
        flash = costs.flash - share * (costs.flash - least)
        rows.append((Limits(flash=flash, wide=False), f"{100 * share:.0f} % of int4"))
    for share in SHARES:
        limit = arena + share * (most - arena)
        rows.append((Limits(arena=limit, narrow=False), f"{100 * share:.0f} % of 16x8"))
    return rows


def _limits(budget: Budget, report: Report) -> Limits:
    """A budget as limits of the integer program; `report` is that of plain int8."""
    arena = cycles = None
    if budget.max_ram is not None:
        arena = budget.max_ram - (report.ram_bytes - report.ram["arena"])
    if budget.max_latency is not None:
        cycles = budget.max_latency * 1e-3 * report.clock_hz
    return Limits(flash=budget.max_flash, arena=arena, cycles=cycles)


def _within(bench: _Bench, costs: Costs, budget: Budget, tell: Callable[[str], None]) -> None:
    """Solve for a budget; where a build costs more than predicted, for that much less."""
    limits = _limits(budget, bench.builds[0].report)
    if (limits.flash, limits.arena, limits.cycles) == (None, None, None):
        return
    wanted = limits
    for _ in range(ATTEMPTS):
        choice = allocate(bench.sensitivity, costs, limits)
        if choice is None:
            return
        tell("within the budget")
        row = bench.row(f"solution {len(bench.rows) + 1}", choice)
        report = bench.builds[row].report
        if not any(need > limit for _, need, limit, _ in budget.costs(report)):
            return
        limits = Limits(
            _tighter(wanted.flash, limits.flash, report.flash_bytes, costs.flash_of(choice)),
            _tighter(wanted.arena, limits.arena, report.ram["arena"], costs.arena_of(choice)),
            _tighter(wanted.cycles, limits.cycles, report.cycles or 0, costs.cycles_of(choice)),
        )


def _tighter(
    wanted: float | None, limit: float | None, have: float, predicted: float
) -> float | None:
    if wanted is None or limit is None:
        return None
    return min(limit, wanted - (have - predicted)) if have > wanted else limit


def _costs(builds: list[Build], sensitivity: Sensitivity) -> Costs:
    """From the builds of int8, int4 and 16x8, layer by layer."""
    base, narrow, wide = (b.report for b in builds[:3])
    layers = {layer.name: layer for layer in base.layers}
    four = {layer.name: layer for layer in narrow.layers}
    sixteen = {layer.name: layer for layer in wide.layers}
    makers = {t: name for name, group in sensitivity.members.items() for t in group}
    tensor_cycles: dict[str, int] = {}
    graph = builds[0].graph
    for node in graph.nodes:
        name = node.name or node.output
        if name in layers and node.inputs[0] in makers:
            more = (sixteen[name].cycles or 0) - (layers[name].cycles or 0)
            maker = makers[node.inputs[0]]
            tensor_cycles[maker] = tensor_cycles.get(maker, 0) + more
    return Costs(
        flash=base.flash_bytes,
        cycles=base.cycles or 0,
        flash_saved={
            name: layer.constant_bytes - four[name].constant_bytes for name, layer in layers.items()
        },
        weight_cycles={
            name: (four[name].cycles or 0) - (layer.cycles or 0) for name, layer in layers.items()
        },
        tensor_cycles=tensor_cycles,
        steps=alive_bytes(builds[0].program, graph, makers),
    )


def alive_bytes(
    program: Any, graph: Graph, makers: Mapping[str, str]
) -> tuple[tuple[int, dict[str, int]], ...]:
    """For every call of a `codegen.program.Program`: bytes that do not depend on widths (scratch,
    indices) and bytes of the buffers that are alive, by the maker of the tensor that lies there.
    Views share their operand's buffer; of an operand and a result that may lie over each other the
    larger one counts, and what the other stands out counts as scratch."""
    views = ("reshape", "rescale")
    root = {node.output: node.inputs[0] for node in graph.nodes if node.op in views}

    def home(name: str) -> str:
        while name in root:
            name = root[name]
        return name

    first = {home(name): 0 for name in graph.inputs}
    last: dict[str, int] = {}
    for i, call in enumerate(program.calls):
        reads = [a.value for a in call.arguments if a.role == "input"]
        results = [a.value for a in call.arguments if a.role == "output"]
        for name in (*reads, *results):
            last[home(name)] = i
        for name in results:
            first.setdefault(home(name), i)
    for name in graph.outputs:
        last[home(name)] = len(program.calls)
    sharings = {(s.output, s.source): s for s in program.sharings}
    steps = []
    for i, call in enumerate(program.calls):
        alive: dict[str, int] = {}
        source, output = (
            # A call that waits for the accelerator has neither.
            home(next((a.value for a in call.arguments if a.role == role), ""))
            for role in ("input", "output")
        )
        hidden, beyond = "", 0
        if (sharing := sharings.get((output, source))) is not None:
            x, y = graph.values[source].nbytes, graph.values[output].nbytes
            hidden = source if x < y else output
            apart = 0 if sharing.in_place else max(sharing.overlap, 0)
            beyond = min(max(y, apart + x), x + y) - max(x, y)
        for name, start in first.items():
            if start <= i <= last.get(name, -1) and name != hidden:
                nbytes = graph.values[name].nbytes
                if name in makers:
                    alive[makers[name]] = alive.get(makers[name], 0) + nbytes
                else:  # indices, states: of one width
                    beyond += nbytes
        steps.append((call.scratch_bytes + beyond, alive))
    return tuple(steps)


def _impossible(bench: _Bench) -> EdgekitError:
    """Which limit no mixture keeps, and the nearest there is to all of them."""
    rows, budget = bench.rows, bench.budget
    details = []
    for what, limit, unit, measure in (
        ("flash", budget.max_flash, "B", lambda r: r.flash_bytes),
        ("RAM", budget.max_ram, "B", lambda r: r.ram_bytes),
        ("latency", budget.max_latency, "ms", lambda r: r.latency_ms),
        ("longest step", budget.max_step, "ms", lambda r: r.step_ms),
    ):
        if limit is None:
            continue
        least = min(rows, key=measure)
        if measure(least) > limit:
            details.append(
                f"{what}: the least is {number(measure(least), unit)} ({least.name}), the budget "
                f"is {number(limit, unit)}, {number(measure(least) - limit, unit)} short"
            )
    if budget.min_agreement is not None:
        known = [r for r in rows if r.agreement is not None]
        if not known:
            details.append("agreement: the model's output is no vector of scores")
        else:
            top = max(known, key=lambda r: r.agreement or 0.0)
            share = 100 * (top.agreement or 0.0)
            if share < budget.min_agreement:
                details.append(
                    f"agreement: the best is {share:.2f} % ({top.name}) on "
                    f"{bench.judge.samples.count} samples, {budget.min_agreement:g} % are wanted"
                )
    if budget.min_sqnr is not None:
        finest = max(rows, key=lambda r: r.sqnr_db)
        if finest.sqnr_db < budget.min_sqnr:
            details.append(
                f"SQNR: the best is {finest.sqnr_db:.1f} dB ({finest.name}), {budget.min_sqnr:g} "
                "dB are wanted"
            )
    if not details:
        nearest = min(rows, key=lambda r: (len(r.excess), -(r.agreement or 0.0), -r.sqnr_db))
        details = [
            f"each limit can be kept by itself, not all together; nearest is '{nearest.name}':",
            *nearest.excess,
        ]
    return EdgekitError(
        "E314",
        f"no mixture of 4- and 8-bit weights and 8- and 16-bit tensors keeps the budget "
        f"({len(rows)} were built)",
        details=details,
        help="raise the budget, prune the model (edgekit prune), or take a smaller one",
    )
