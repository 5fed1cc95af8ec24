"""PyTorch for the tests: skipped where it is missing, but never in CI."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

import pytest


def need_torch() -> Any:
    """The torch module with one thread, since tests share the cores; call it at module level."""
    if importlib.util.find_spec("torch") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("PyTorch is not installed, but CI=true")
        pytest.skip("needs PyTorch: pip install 'edgekit[torch]'", allow_module_level=True)
    import torch

    torch.set_num_threads(1)
    return torch


def need_torch_export() -> Any:
    """`need_torch`, and the packages of PyTorch's ONNX exporter."""
    torch = need_torch()
    if importlib.util.find_spec("onnxscript") is None:
        if os.environ.get("CI") == "true":
            pytest.fail("onnxscript is not installed, but CI=true")
        pytest.skip("needs onnxscript: pip install 'edgekit[torch]'", allow_module_level=True)
    return torch
