"""A part of ONNX's own tests of single operators; `benchmarks.onnx_conformance` runs all of them.

The folder of these tests has one module for each operator; some modules of every family are here.
"""

from __future__ import annotations

from benchmarks.onnx_backend import cases, claimed, judge

MODULES = (
    "argmax", "averagepool", "batch_normalization", "cast", "clip", "concat", "conv",
    "convtranspose", "cumsum", "depthtospace", "einsum", "expand", "flatten", "gather",
    "gathernd", "gemm", "gelu", "globalaveragepool", "groupnormalization", "hardmax", "hardswish",
    "if_", "instance_normalization", "layernormalization", "logsoftmax", "loop", "lppool", "lrn",
    "matmul", "maxpool", "mish", "onehot", "pad", "pow", "prelu", "qlinearconv", "quantizelinear",
    "reduce_log_sum_exp", "reducemean", "reshape", "resize", "reversesequence", "scan",
    "scatterelements", "slice", "softmax", "spacetodepth", "split", "squeeze", "tile", "topk",
    "transpose", "trilu", "unsqueeze", "upsample", "where",
)  # fmt: skip


def test_number_of_operators() -> None:
    assert len(claimed()) >= 120


def test_every_case_passes_or_is_out_of_scope() -> None:
    operators = set(claimed())
    results = [judge(c) for c in cases(MODULES) if c.op in operators]
    failed = [f"{r.case.name}: {r.why}" for r in results if r.status == "failed"]
    assert not failed, "\n".join(failed)
    passed = sum(r.status == "passed" for r in results)
    assert passed > 400
    assert passed > 0.75 * len(results)
