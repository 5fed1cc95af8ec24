"""Configurations that tests compile for: those with a name, and ones with hardly any memory."""

from __future__ import annotations

from targets.npu.config import CONFIGURATIONS, Accelerator

NPU64 = CONFIGURATIONS["npu64"]
#: So small that nearly every model has stripes, and weights that pass by in chunks.
TINY = (
    Accelerator("tiny8", 8, 4, 256, 64, 64),
    Accelerator("tiny2", 2, 1, 128, 128, 32),
    Accelerator("tiny32", 32, 8, 512, 32, 64),
    Accelerator("tiny1", 1, 1, 256, 128, 32, tables=False),
)
