"""Post-training quantization of canonical float graphs to TFLite's int8 specification."""

from quantizer.ptq import QuantizationResult, TensorReport, quantize

__all__ = ["QuantizationResult", "TensorReport", "quantize"]
