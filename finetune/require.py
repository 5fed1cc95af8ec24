"""Whether PyTorch is there, and what to do where it is not."""

from __future__ import annotations

import importlib.util

from edgekit.errors import EdgekitError


def require_torch() -> None:
    """Raises EdgekitError E260 with the pip command where PyTorch is not installed."""
    if importlib.util.find_spec("torch") is None:
        raise EdgekitError(
            "E260",
            "fine-tuning needs PyTorch, which is not installed",
            help="pip install 'edgekit[torch]'; without a GPU the small build will do: "
            "pip install torch --index-url https://download.pytorch.org/whl/cpu",
        )
