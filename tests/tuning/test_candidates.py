"""What there is to be timed of a bundle."""

from __future__ import annotations

from itertools import pairwise

from edgekit.output import Output
from edgekit.tuning.candidates import candidates
from edgekit.tuning.record import Measured
from edgekit.tuning.tune import WORTH, choose


def test_every_variant_with_its_own_sizes_first(folder: Output) -> None:
    gpu = folder.bundle.gpu
    assert gpu is not None
    found = candidates(gpu)
    own = [c for c in found if not any(c.choice)]
    assert found[: len(own)] == own
    assert {(i, c.variant) for c in own for i in c.layers} == {
        (i, v) for i, layer in enumerate(gpu.layers) for v in range(layer.variant_count)
    }
    assert len({(c.name, c.key) for c in found}) == len(found) > len(own)
    for c in found:
        assert sum(which != 0 for which in c.choice) <= 1
    assert all(a.layer <= b.layer for a, b in pairwise(own))


def test_the_fastest_right_one_is_chosen_where_it_is_worth_it(folder: Output) -> None:
    gpu = folder.bundle.gpu
    assert gpu is not None
    found = [c for c in candidates(gpu) if c.layer == 0]
    own, first, second = found[0], found[1], next(c for c in found if any(c.choice))

    def chosen(times: dict[int, Measured]) -> list[str]:
        parts = (own, first, second)
        measured = {f"{parts[i].name}: {parts[i].key}": m for i, m in times.items()}
        return [f"{c.variant} {c.sizes}" for c in choose(gpu, found, measured)]

    close = int(1000 * (1 - WORTH / 2))
    assert chosen({0: Measured(1000), 1: Measured(close)}) == []
    assert chosen({0: Measured(1000), 1: Measured(700)}) == [f"{first.name} {first.sizes}"]
    assert chosen({0: Measured(1000), 1: Measured(7, "wrong bytes (3)"), 2: Measured(500)}) == [
        f"{second.name} {second.sizes}"
    ]
    # The compiler's own was not measured, or nothing was right: nothing is chosen.
    assert chosen({2: Measured(5)}) == []
    assert chosen({0: Measured(0, "did not end")}) == []
