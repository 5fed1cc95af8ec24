"""PyTorch modules of this very program to graphs. Needs ``edgekit[torch]``."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgekitError
from edgekit.frontends.torch_onnx import exported, require_torch, write_onnx
from edgekit.graph import Graph

if TYPE_CHECKING:
    import torch


def from_torch(
    module: torch.nn.Module | torch.export.ExportedProgram,
    example_inputs: torch.Tensor | Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    dynamic_shapes: Any = None,
    bind: dict[str, int] | None = None,
    name: str = "",
) -> Graph:
    """The canonical float graph of a PyTorch module, for `edgekit.compile` and the rest.

    The module is exported in evaluation mode (and then put back as it was) by torch.export and
    PyTorch's own ONNX exporter; weights are copied.

    Args:
        module: an `nn.Module`, or a program that torch.export made.
        example_inputs: what `forward` takes: a tensor, a sequence of positional arguments, or
            keyword arguments by name. Shapes count, numbers do not; one sample, [1, ...]. None for
            a program.
        dynamic_shapes: as for `torch.export.export`, where a module needs it; `bind` then gives
            the sizes of dimensions other than the batch, by name.
        name: the model's name; the class's where empty.

    Returns:
        A verified graph as `edgekit.importers.load` gives it. Inputs have the names of `forward`'s
        parameters, outputs those of the keys of dicts; outputs in tuples and lists are counted
        (``output_0``), a single one is ``output``.

    Raises:
        EdgekitError: E160 PyTorch is missing, E165 torch.export refuses the module, E162 its ONNX
            exporter does, E102 and others as for `edgekit.importers.load`.
    """
    from edgekit.importers import load

    require_torch()
    program, called = exported(module, example_inputs, dynamic_shapes)
    stem = re.sub(r"\W+", "_", name or called).strip("_").lower() or "model"
    with tempfile.TemporaryDirectory(prefix="edgekit-") as folder:
        file = Path(folder) / f"{stem[:100]}.onnx"
        write_onnx(program, file)
        try:
            return load(file, bind=bind)
        except EdgekitError as error:
            raise EdgekitError(
                error.code, error.message.replace(file.name, called), help=error.help,
                details=error.details,
            ) from None  # fmt: skip
