"""Train canonical graphs further with PyTorch: after pruning, or aware of quantization.

PyTorch is the extra ``edgekit[torch]``. Importing this package does not load it; the names below
do when they are first used, and raise EdgekitError E260 where it is not installed.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from finetune.measure import DEPLOYED
from finetune.require import require_torch

if TYPE_CHECKING:
    from finetune.losses import Distillation
    from finetune.module import GraphModule, module_of
    from finetune.quantized import fake_quantized
    from finetune.train import fine_tune

__all__ = [
    "DEPLOYED",
    "Distillation",
    "GraphModule",
    "fake_quantized",
    "fine_tune",
    "module_of",
    "require_torch",
]

_HOME = {
    "Distillation": "losses",
    "GraphModule": "module",
    "fake_quantized": "quantized",
    "fine_tune": "train",
    "module_of": "module",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'finetune' has no attribute '{name}'")
    require_torch()
    return getattr(importlib.import_module(f"finetune.{_HOME[name]}"), name)
