"""A small network for handwritten digits, trained here, with its data."""

from pathlib import Path

_HERE = Path(__file__).parent
MODEL = _HERE / "digits.onnx"
CALIBRATION = _HERE / "digits_calibration.npz"
EVALUATION = _HERE / "digits_eval.npz"
