"""ai-edge-quantizer (an optional install) on the models: it takes .tflite files only."""

from __future__ import annotations

from importlib import metadata, util
from pathlib import Path

import numpy as np

#: Float .tflite files by the name of their data, in the folder of models.
FLOAT_TFLITE = {"kws": "kws_ref_model_float32.tflite"}


def outcome(name: str, models: Path, calibration: dict[str, np.ndarray]) -> str:
    """What its static int8 recipe makes of a model, as one line."""
    if util.find_spec("ai_edge_quantizer") is None:
        return "not tried: pip install ai-edge-quantizer"
    if name not in FLOAT_TFLITE:
        return "not tried: it takes .tflite, of this model there is no float .tflite"
    from ai_edge_quantizer import quantizer, recipe

    file = models / FLOAT_TFLITE[name]
    version = metadata.version("ai-edge-quantizer")
    try:
        tool = quantizer.Quantizer(str(file))
        tool.load_quantization_recipe(recipe.static_wi8_ai8())
        (x,) = calibration.values()
        rows = [{"input_1": row[None].astype(np.float32)} for row in x]
        tool.quantize(tool.calibrate({"serving_default": rows}))
    except Exception as error:  # whatever it raises is what a user would see
        return f"{version} refuses {file.name}: {type(error).__name__}: {error}"
    return f"{version} accepts {file.name}"
