"""The few layers that `train.py` needs, forward and backward, in numpy over NHWC."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Layer:
    """`forward` remembers what `backward` needs; parameters and gradients are parallel lists."""

    def __init__(self) -> None:
        self.params: list[np.ndarray] = []
        self.grads: list[np.ndarray] = []

    def forward(self, x: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def backward(self, dy: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    def _weights(self, rng: np.random.Generator, shape: tuple[int, ...], fan_in: int) -> None:
        """He initialization, zero biases."""
        w = rng.normal(0, np.sqrt(2 / fan_in), shape).astype(np.float32)
        self.params = [w, np.zeros(shape[-1], np.float32)]


def taps(
    padded: np.ndarray, kernel: int, stride: int, size: tuple[int, int]
) -> Iterator[tuple[int, int, np.ndarray]]:
    """(i, j, view [n, OH, OW, C]) for each position in a square window."""
    for i in range(kernel):
        for j in range(kernel):
            rows = slice(i, i + (size[0] - 1) * stride + 1, stride)
            columns = slice(j, j + (size[1] - 1) * stride + 1, stride)
            yield i, j, padded[:, rows, columns]


class Conv(Layer):
    """Square convolution with padding k // 2; weights [K, K, C, O], or [K, K, C] depthwise."""

    def __init__(
        self,
        rng: np.random.Generator,
        channels: int,
        out: int,
        kernel: int,
        stride: int = 1,
        depthwise: bool = False,
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.depthwise = kernel, stride, depthwise
        shape = (kernel, kernel, channels) if depthwise else (kernel, kernel, channels, out)
        self._weights(rng, shape, kernel * kernel * (1 if depthwise else channels))

    def forward(self, x: np.ndarray) -> np.ndarray:
        pad = self.kernel // 2
        self.padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
        self.size = (-(-x.shape[1] // self.stride), -(-x.shape[2] // self.stride))
        w, bias = self.params
        y: np.ndarray = np.zeros((len(x), *self.size, w.shape[-1]), np.float32)
        for i, j, view in taps(self.padded, self.kernel, self.stride, self.size):
            y += view * w[i, j] if self.depthwise else view @ w[i, j]
        return y + bias

    def backward(self, dy: np.ndarray) -> np.ndarray:
        w = self.params[0]
        dw, dx = np.zeros_like(w), np.zeros_like(self.padded)
        dx_taps = taps(dx, self.kernel, self.stride, self.size)
        x_taps = taps(self.padded, self.kernel, self.stride, self.size)
        for (i, j, view), (_, _, target) in zip(x_taps, dx_taps, strict=True):
            if self.depthwise:
                dw[i, j] = (view * dy).sum(axis=(0, 1, 2))
                target += dy * w[i, j]
            else:
                dw[i, j] = np.tensordot(view, dy, ([0, 1, 2], [0, 1, 2]))
                target += dy @ w[i, j].T
        self.grads = [dw, dy.sum(axis=(0, 1, 2))]
        pad = self.kernel // 2
        return dx[:, pad : dx.shape[1] - pad, pad : dx.shape[2] - pad]


class Relu(Layer):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.mask = x > 0
        return x * self.mask

    def backward(self, dy: np.ndarray) -> np.ndarray:
        return dy * self.mask


class GlobalAveragePool(Layer):
    def forward(self, x: np.ndarray) -> np.ndarray:
        self.shape = x.shape
        return x.mean(axis=(1, 2))

    def backward(self, dy: np.ndarray) -> np.ndarray:
        n, h, w, c = self.shape
        return np.broadcast_to(dy[:, None, None] / (h * w), (n, h, w, c))


class Dense(Layer):
    """Weights [K, O]."""

    def __init__(self, rng: np.random.Generator, inputs: int, outputs: int) -> None:
        super().__init__()
        self._weights(rng, (inputs, outputs), inputs)

    def forward(self, x: np.ndarray) -> np.ndarray:
        self.x = x
        return x @ self.params[0] + self.params[1]

    def backward(self, dy: np.ndarray) -> np.ndarray:
        self.grads = [self.x.T @ dy, dy.sum(axis=0)]
        return dy @ self.params[0].T


class Adam:
    """Adam (Kingma and Ba, arXiv:1412.6980) over all parameters of the layers."""

    def __init__(self, layers: list[Layer]) -> None:
        self.layers, self.step = layers, 0
        self.state = [[(np.zeros_like(p), np.zeros_like(p)) for p in la.params] for la in layers]

    def update(self, rate: float) -> None:
        self.step += 1
        for layer, states in zip(self.layers, self.state, strict=True):
            for p, g, (mean, square) in zip(layer.params, layer.grads, states, strict=True):
                mean += 0.1 * (g - mean)
                square += 0.001 * (g * g - square)
                unbiased = mean / (1 - 0.9**self.step)
                p -= rate * unbiased / (np.sqrt(square / (1 - 0.999**self.step)) + 1e-8)
