"""Whether a framework is installed, and the command that installs it."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from edgekit.errors import EdgekitError


@dataclass(frozen=True)
class Framework:
    """A framework, the modules that its front end imports, and the extra that brings them."""

    name: str
    modules: tuple[str, ...]
    help: str


TORCH = Framework(
    "PyTorch",
    ("torch", "onnxscript"),
    "pip install 'edgekit[torch]'; without a GPU the small build will do: "
    "pip install torch --index-url https://download.pytorch.org/whl/cpu",
)
TENSORFLOW = Framework("TensorFlow", ("tensorflow", "keras"), "pip install 'edgekit[tensorflow]'")


def require(framework: Framework) -> None:
    """Raises EdgekitError E160 with the pip command where a module is missing."""
    missing = [m for m in framework.modules if importlib.util.find_spec(m) is None]
    if missing:
        raise EdgekitError(
            "E160",
            f"models of {framework.name} need the Python package '{missing[0]}', which is not "
            "installed",
            help=framework.help,
        )
