"""Random .tflite models of one operator, for each operator that the importer takes."""

import tflite_draw_elements
import tflite_draw_layers
import tflite_draw_movement
import tflite_draw_reductions
from tflite_draw import DTYPES, OPERATORS, Draw

__all__ = [
    "DTYPES",
    "OPERATORS",
    "Draw",
    "tflite_draw_elements",
    "tflite_draw_layers",
    "tflite_draw_movement",
    "tflite_draw_reductions",
]
