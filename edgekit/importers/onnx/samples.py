"""A node that works on the model's own batch, as one node for each sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from edgekit.importers.common import Refused
from edgekit.importers.onnx.builder import MAX_IMAGES, OnnxBuilder
from edgekit.importers.onnx.node import OnnxNode


def sample_by_sample(
    b: OnnxBuilder, node: OnnxNode, count: int, operands: Mapping[int, int],
    results: Mapping[int, int],
) -> None:  # fmt: skip
    """Import `node` once for each of `count` samples and join its results.

    Args:
        operands: the batch axis by index of the operand; the others serve all samples.
        results: the batch axis by index of the result.
    """
    if count > MAX_IMAGES:
        raise Refused(f"it has a batch of {count}, at most {MAX_IMAGES} is supported")
    stem = next(o for o in node.outputs if o)
    modern = replace(node, opset=max(node.opset, 13), attrs={})
    parts = []
    for k in range(count):
        inputs = list(node.inputs)
        for index, axis in operands.items():
            if index >= len(inputs) or not inputs[index]:
                continue
            names = [inputs[index]]
            for what, value in (("start", k), ("end", k + 1), ("axis", axis)):
                name = f"{stem}.{k}:{what}{index}"
                b.data[name] = np.asarray([value], np.int64)
                names.append(name)
            inputs[index] = b.run(modern, "Slice", names, f"{stem}.{k}:in{index}")
        outputs = [f"{o}.{k}" if o else "" for o in node.outputs]
        parts.append(replace(node, inputs=inputs, outputs=outputs))
    b.import_part(parts)
    for index, out in enumerate(node.outputs):
        if out:
            b.run(node, "Concat", [p.outputs[index] for p in parts], out, {"axis": results[index]})
