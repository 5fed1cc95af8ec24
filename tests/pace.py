"""What `make test` leaves to `make test-slow`: further cases of what others cover already."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import pytest


def thinned(cases: Iterable[Any], fast: Callable[[Any], bool]) -> list[Any]:
    """`cases` as parameters of a test; those that `fast` refuses get the marker `slow`.

    A tuple is one case of several arguments.
    """
    return [
        case
        if fast(case)
        else pytest.param(*(case if isinstance(case, tuple) else (case,)), marks=pytest.mark.slow)
        for case in cases
    ]


def every(n: int, cases: Iterable[Any]) -> list[Any]:
    """`cases` as `thinned` has them; of n that follow each other one is in `make test`."""
    kept = itertools.count()
    return thinned(cases, lambda _: next(kept) % n == 0)
