"""The program of an output folder, made anew from its graph."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from edgekit.assemble import bundle_of
from edgekit.bundle import Bundle
from edgekit.devices.find import find_target
from edgekit.errors import EdgekitError
from edgekit.graph import Graph
from edgekit.output import MARKER, Output
from edgekit.version import __version__

#: Arguments of `codegen.lower.build_program` that a folder's description keeps.
_OPTIONS = {"sparse_weights": str, "optimize": str, "threads": int}


@dataclass(frozen=True)
class Rebuilt:
    """An output folder and what it was made of; `program` is a `codegen.program.Program`."""

    folder: Output
    graph: Graph
    program: Any
    bundle: Bundle


def rebuilt(folder: Output) -> Rebuilt:
    """The program of an output folder, made anew from its graph; what the bundle has for a GPU is
    taken as it is.

    Raises:
        EdgekitError: E348 where it is not what the folder's bundle has, E40x and E70x where files
            are damaged or missing.
    """
    from codegen.lower import build_program
    from codegen.sources import c_name

    options = folder.description.get("options")
    if isinstance(options, dict):
        options = {"threads": 1, **options}
    if (
        not isinstance(options, dict)
        or set(options) != set(_OPTIONS)
        or not all(type(options[name]) is kind for name, kind in _OPTIONS.items())
    ):
        raise EdgekitError(
            "E348",
            f"'{folder.path / MARKER}' does not say how the model was compiled",
            help=f"compile it again, with edgekit {__version__}",
        )
    bundle, graph = folder.check_kernels(), folder.graph
    if c_name(graph.name) != folder.name:
        raise EdgekitError(
            "E348",
            f"'{folder.path}' says that it is '{folder.name}', its graph is '{graph.name}'",
            help="compile the model again",
        )
    program = build_program(graph, find_target(folder.target), **options)
    found = replace(bundle_of(program, ()), gpu=bundle.gpu)
    if found.hash != bundle.hash:
        raise EdgekitError(
            "E348",
            f"'{folder.path}' has a graph that compiles to {found.hash.hex()}, its bundle is "
            f"{bundle.hash.hex()} ({bundle.producer})",
            help=f"the folder was changed or is of another version: compile the model again, "
            f"with edgekit {__version__}",
        )
    return Rebuilt(folder, graph, program, bundle)
