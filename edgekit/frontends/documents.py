"""JSON documents from strangers."""

from __future__ import annotations

import json
from typing import Any

from edgekit.errors import EdgekitError

#: Nesting beyond this is no model; Python's own limit would end in a RecursionError.
MAX_DEPTH = 100


def parse(data: bytes, what: str) -> Any:
    """The value of a JSON text.

    Raises:
        EdgekitError: E164 where it is no JSON, or nested deeper than MAX_DEPTH.
    """
    depth = deepest = 0
    for byte in data:  # brackets within strings count too: more than enough room for either
        if byte in b"[{":
            depth += 1
            deepest = max(deepest, depth)
        elif byte in b"]}":
            depth -= 1
    if deepest > MAX_DEPTH:
        raise EdgekitError(
            "E164", f"{what} is nested {deepest} deep, at most {MAX_DEPTH} levels are accepted",
            help="save the model again",
        )  # fmt: skip
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise EdgekitError(
            "E164", f"{what} is no JSON: {error}", help="save the model again"
        ) from None
