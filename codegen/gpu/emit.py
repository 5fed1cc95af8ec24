"""From a schedule to a launch of its OpenCL C function, through TVM or from the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from codegen.emit import generator_hash, require_pins
from codegen.gpu.items import sizes
from codegen.gpu.kernel import Function, Launch, Place, Size
from codegen.gpu.resources import registers
from edgekit.toolchain.cache import cached, key_of

Schedule = Callable[[dict[str, Any]], Any]
#: The parameter of every function that it writes to.
RESULT = "y"


def launch(
    algorithm: str, schedule: Schedule, params: dict[str, Any], arguments: tuple[Place, ...]
) -> Launch:
    """A run of the function that `schedule` makes of `params`.

    Args:
        algorithm: names the schedule, as in "conv2d_direct".
        params: JSON values; all that the text depends on.
        arguments: in the order of the schedule's parameters, the last of which is written.
    """
    key = key_of((generator_hash(), algorithm, json.dumps(params, sort_keys=True)))
    path = cached(key, ".json", lambda out: _generate(algorithm, schedule, params, out))
    stored = json.loads(path.read_text())
    function = Function(stored["name"], stored["text"], stored["local_bytes"], stored["registers"])
    groups, items = _size(stored["groups"]), _size(stored["items"])
    if stored["items"]:
        whole = (groups[0] * items[0], groups[1] * items[1], groups[2] * items[2])
        return Launch(function, arguments, whole, items)
    whole, local, others = sizes(groups)
    return Launch(function, arguments, whole, local, others)


def _size(extents: dict[str, int]) -> Size:
    return (extents.get("x", 1), extents.get("y", 1), extents.get("z", 1))


def _generate(algorithm: str, schedule: Schedule, params: dict[str, Any], out: Path) -> None:
    require_pins()
    from codegen.gpu.printer import print_kernel
    from codegen.tvm_api import lower_gpu

    text = json.dumps([algorithm, params], sort_keys=True)
    name = f"ek_{algorithm}_{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    lowered = lower_gpu(schedule(params))
    printed = print_kernel(lowered, name, written={RESULT})
    out.write_text(
        json.dumps(
            {
                "name": name,
                "text": printed.text,
                "groups": printed.groups,
                "items": printed.items,
                "local_bytes": printed.local_bytes,
                "registers": registers(lowered),
            }
        )
    )
