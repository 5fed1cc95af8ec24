"""edgekit: compile trained neural networks for small devices.

Importing this package is cheap; TVM, ONNX and the compilers are loaded when they are used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from edgekit.version import __version__ as __version__

if TYPE_CHECKING:
    from edgekit.errors import EdgekitError as EdgekitError
    from edgekit.importers.pytorch import from_torch as from_torch
    from edgekit.joining import join as join
    from edgekit.pipeline import compile as compile
    from edgekit.pruning import prune as prune


def __getattr__(name: str) -> Any:
    if name == "EdgekitError":
        from edgekit.errors import EdgekitError

        return EdgekitError
    if name == "from_torch":
        from edgekit.importers.pytorch import from_torch

        return from_torch
    if name == "join":
        from edgekit.joining import join

        return join
    if name == "compile":
        from edgekit.pipeline import compile

        return compile
    if name == "prune":
        from edgekit.pruning import prune

        return prune
    raise AttributeError(f"module 'edgekit' has no attribute '{name}'")
