"""The integer program against every mixture there is."""

from __future__ import annotations

from itertools import chain, combinations

from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.search.allocate import Choice, Costs, Limits, allocate
from quantizer.sensitivity import Sensitivity

LAYERS, TENSORS = ("a", "b", "c"), ("x", "a", "b")
NOISE = st.floats(1e-6, 1.0)
BYTES = st.integers(0, 1000)


@st.composite
def problems(draw: st.DrawFn) -> tuple[Sensitivity, Costs, Limits]:
    weights = {n: {8: draw(NOISE)} for n in LAYERS}
    for name in LAYERS[1:]:
        weights[name][4] = weights[name][8] + draw(NOISE)
    tensors = {n: {8: draw(NOISE), 16: draw(NOISE)} for n in TENSORS}
    sensitivity = Sensitivity(1.0, weights, tensors, {n: (n,) for n in TENSORS})
    by_layer = st.fixed_dictionaries(dict.fromkeys(LAYERS, BYTES))
    steps = st.lists(
        st.tuples(BYTES, st.dictionaries(st.sampled_from(TENSORS), BYTES)), min_size=1, max_size=4
    )
    costs = Costs(
        flash=5000,
        cycles=5000,
        flash_saved=draw(by_layer),
        weight_cycles=draw(by_layer),
        tensor_cycles=draw(st.fixed_dictionaries({n: st.integers(-50, 500) for n in TENSORS})),
        steps=tuple(draw(steps)),
    )
    some = st.none() | st.floats(0, 6000)
    limits = Limits(draw(some), draw(some), draw(some), draw(st.booleans()), draw(st.booleans()))
    return sensitivity, costs, limits


def every_choice(limits: Limits) -> list[Choice]:
    def subsets(names: tuple[str, ...]) -> list[frozenset[str]]:
        found = chain.from_iterable(combinations(names, n) for n in range(len(names) + 1))
        return [frozenset(s) for s in found]

    narrow = subsets(LAYERS[1:]) if limits.narrow else [frozenset()]
    wide = subsets(TENSORS) if limits.wide else [frozenset()]
    return [Choice(n, w) for n in narrow for w in wide]


def keeps(choice: Choice, costs: Costs, limits: Limits) -> bool:
    pairs = (
        (limits.flash, costs.flash_of(choice)),
        (limits.arena, costs.arena_of(choice)),
        (limits.cycles, costs.cycles_of(choice)),
    )
    return all(limit is None or have <= limit + 1e-6 for limit, have in pairs)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_no_mixture_is_better(problem: tuple[Sensitivity, Costs, Limits]) -> None:
    sensitivity, costs, limits = problem
    found = allocate(sensitivity, costs, limits)
    fitting = [c for c in every_choice(limits) if keeps(c, costs, limits)]
    if found is None:
        assert not fitting
        return
    assert keeps(found, costs, limits)

    def noise(c: Choice) -> float:
        return sensitivity.noise(c.weight_bits, c.activation_bits)

    best = min(map(noise, fitting))
    assert noise(found) <= best * (1 + 1e-4) + 1e-5
