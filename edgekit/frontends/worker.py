"""What the processes of the converters share: limits, and the answer."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

from edgekit.errors import EdgekitError

Convert = Callable[[str, Path, Path], None]


def answer(convert: Convert) -> None:
    """Run ``convert(kind, source, result)`` as the command line says.

    Writes ``{}``, or the code, message and help of an EdgekitError, beside the result.
    """
    kind, source, result, seconds, space = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 10))
    resource.setrlimit(resource.RLIMIT_AS, (int(space), int(space)))
    said = {}
    try:
        convert(kind, Path(source), Path(result))
    except EdgekitError as error:
        said = {"code": error.code, "message": error.message, "help": error.help}
    except MemoryError:
        said = {
            "code": "E163",
            "message": "the converter ran out of memory",
            "help": "export the model to ONNX yourself, and give that file",
        }
    Path(result).with_suffix(".json").write_text(json.dumps(said))
