"""What families of kernels for integer layers have in common."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from codegen.kernel import Layer, NotApplicable


def integers_only(layer: Layer) -> None:
    """Refuse layers that compute in float32."""
    if layer.node.attrs.get("float"):
        raise NotApplicable("a float32 layer")


def int8_weights(layer: Layer) -> None:
    """As `integers_only`; weights of other widths too, where there are weights."""
    integers_only(layer)
    if layer.node.attrs.get("weight_bits", 8) != 8:
        raise NotApplicable(f"weights of {layer.node.attrs['weight_bits']} bits")


def int8_only(layer: Layer) -> None:
    """As `int8_weights`; activations of other widths too."""
    int8_weights(layer)
    if layer.inputs[0].dtype != "int8" or layer.output.dtype != "int8":
        raise NotApplicable("activations of 16 bits")


def as_conv(layer: Layer) -> Layer:
    """A fully connected layer as a 1x1 convolution with a pixel for each row; others stay."""
    if layer.node.op != "fully_connected":
        return layer
    x, w, bias = layer.inputs
    channels, taps = w.shape
    rows = x.size // taps
    data = layer.constants[w.name].reshape(channels, 1, 1, taps)
    return replace(
        layer,
        inputs=(replace(x, shape=(1, 1, rows, taps)), replace(w, shape=data.shape), bias),
        constants={**layer.constants, w.name: data},
        output=replace(layer.output, shape=(1, 1, rows, channels)),
    )


@dataclass(frozen=True)
class Requant:
    """How accumulators become int8: the family's form, and the clamp."""

    form: str
    zero_point: int
    low: int
    high: int

    @property
    def clamped(self) -> bool:
        """Whether saturation to int8 alone does not clamp."""
        return (self.low, self.high) != (-128, 127)

    @property
    def params(self) -> dict[str, Any]:
        """What a kernel's text depends on."""
        return {"requant": self.form, "zy": self.zero_point, "low": self.low, "high": self.high}

    @classmethod
    def of(cls, p: dict[str, Any]) -> Self:
        """From a kernel's parameters."""
        return cls(p["requant"], p["zy"], p["low"], p["high"])
