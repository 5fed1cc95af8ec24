"""What `make test` leaves to `make test-slow`: further cases of what others cover already."""

from __future__ import annotations

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
