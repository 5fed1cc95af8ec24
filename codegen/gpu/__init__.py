"""Layers as kernels of a GPU: OpenCL C from TVM schedules, variants of each (docs/GPU.md)."""
