"""A program of torch.export as ONNX, by PyTorch's own exporter. Needs ``edgekit[torch]``."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgekit.errors import EdgekitError
from edgekit.frontends.require import TORCH, require
from edgekit.frontends.text import first_line

if TYPE_CHECKING:
    from torch.export import ExportedProgram


def require_torch() -> None:
    """Raises EdgekitError E160 where PyTorch or its ONNX exporter is not installed."""
    require(TORCH)


@contextmanager
def quiet() -> Iterator[None]:
    """Without what torch.export and its ONNX exporter log and warn of."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript")]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def exported(
    module: Any, example_inputs: Any, dynamic_shapes: Any = None
) -> tuple[ExportedProgram, str]:
    """The program of a module in evaluation mode, and the module's name.

    Arguments as for `edgekit.from_torch`.

    Raises:
        EdgekitError: E160 PyTorch is missing; E165 with what torch.export said.
    """
    require_torch()
    import torch

    if isinstance(module, torch.export.ExportedProgram):
        return module, "program"
    called = type(module).__name__
    if not isinstance(module, torch.nn.Module):
        raise EdgekitError(
            "E165",
            f"from_torch takes a torch.nn.Module or an exported program, not a {called}",
            help="wrap a function in a module whose forward calls it",
        )
    arguments, keywords = _arguments(example_inputs, called)
    training = [m for m in module.modules() if m.training]
    module.eval()
    try:
        with quiet(), torch.no_grad():
            program = torch.export.export(
                module, arguments, keywords, dynamic_shapes=dynamic_shapes
            )
    except Exception as error:  # torch.export raises all kinds
        raise EdgekitError(
            "E165",
            f"torch.export refuses {called}: {first_line(error)}",
            help="forward must take and return tensors, and may not branch on their values: "
            "https://docs.pytorch.org/docs/stable/export.html",
        ) from None
    finally:
        for part in training:
            part.training = True
    return program, called


def _arguments(example_inputs: Any, called: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of `forward`."""
    import torch

    if isinstance(example_inputs, torch.Tensor):
        return (example_inputs,), {}
    if isinstance(example_inputs, Mapping):
        return (), dict(example_inputs)
    if isinstance(example_inputs, Sequence) and example_inputs:
        return tuple(example_inputs), {}
    raise EdgekitError(
        "E165",
        f"{called} needs example inputs, {type(example_inputs).__name__} was given",
        help="a tensor such as torch.zeros(1, 3, 32, 32), a tuple of them, or a dict by name",
    )


def write_onnx(program: ExportedProgram, file: Path) -> None:
    """Write `program` as an ONNX file with the weights inside.

    Outputs are named after the keys of dicts; in tuples and lists they are counted.

    Raises:
        EdgekitError: E162 with what the exporter said.
    """
    require_torch()
    import torch

    with quiet():
        try:
            program = program.run_decompositions({})  # names what forward changes in place
            _check_state(program)
            result: Any = torch.onnx.export(
                program, dynamo=True, external_data=False, verbose=False
            )
            _name_outputs(result.model.graph, output_names(program))
            result.save(str(file), external_data=False)
        except EdgekitError:
            raise
        except Exception as error:  # the exporter raises all kinds
            raise EdgekitError(
                "E162",
                f"PyTorch's ONNX exporter refused the model: {first_line(error)}",
                help="replace what it names; torch.onnx.export(..., report=True) says more",
            ) from None


def _check_state(program: ExportedProgram) -> None:
    """Refuse a module whose buffers or inputs change: the exporter would drop the change."""
    signature = program.graph_signature
    changed = [*signature.buffers_to_mutate.values(), *signature.user_inputs_to_mutate.values()]
    if changed:
        raise EdgekitError(
            "E162",
            f"forward changes {', '.join(repr(name) for name in changed)} in place, which ONNX "
            "cannot express",
            help="take the state as an input, and return the new one as an output",
        )


def _name_outputs(graph: Any, names: list[str]) -> None:
    """Give the outputs of an ONNX graph these names, and new ones to values inside that have them.

    (`torch.onnx.export(output_names=...)` leaves the latter, and the file then is illegal.)
    """
    outputs = list(graph.outputs)
    if len(outputs) != len(names) or len({id(o) for o in outputs}) != len(outputs):
        return  # a tensor that is returned twice: the importer says so
    inside = [v for node in graph for v in node.outputs]
    used = {v.name for v in [*inside, *graph.inputs, *graph.initializers.values()]} | set(names)
    for value in inside:
        if value.name in names:
            i = 1
            while f"{value.name}_{i}" in used:
                i += 1
            value.name = f"{value.name}_{i}"
            used.add(value.name)
    for output, name in zip(outputs, names, strict=True):
        output.name = name


def output_names(program: ExportedProgram) -> list[str]:
    """One name for each tensor that the module returns, unlike the names of all inputs."""
    from torch.utils import _pytree

    spec = program.call_spec.out_spec
    if spec is None:
        return ["output"]
    numbers = _pytree.tree_unflatten(list(range(spec.num_leaves)), spec)
    paths = [path for path, _ in _pytree.tree_flatten_with_path(numbers)[0]]
    taken = {*program.graph_signature.user_inputs}
    names: list[str] = []
    for path in paths:
        parts = [str(getattr(key, "key", getattr(key, "idx", ""))) for key in path]
        name = "_".join(parts) if parts and not parts[0].isdigit() else "_".join(["output", *parts])
        while name in taken:
            name += "_output"
        taken.add(name)
        names.append(name)
    return names
