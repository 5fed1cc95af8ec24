"""What a bundle says, as plain values: the host's side of `model.fbs`."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from edgekit.bundle.gpu import Gpu

FORMAT_VERSION = 2
FORMAT_OLDEST = 1
FOOTER_MAGIC = 0x46424B45  # "EKBF"
FOOTER_BYTES = 16
FILE_IDENTIFIER = b"EKB1"
SPACE_ARENA, SPACE_CONSTANTS = 0, 1
#: Every argument's offset is a multiple of this (EK_ARGUMENT_ALIGN of the firmware).
ARGUMENT_ALIGN = 8
#: Most arguments of a call (EK_MAX_ARGUMENTS), most axes of a shape.
MAX_ARGUMENTS, MAX_RANK = 16, 8


@dataclass(frozen=True)
class ArgumentRef:
    """`nbytes` at `offset` of the arena or of the constants."""

    offset: int
    nbytes: int
    space: int


@dataclass(frozen=True)
class CallRef:
    """A call of the kernel with index `kernel`."""

    kernel: int
    arguments: tuple[ArgumentRef, ...]


@dataclass(frozen=True)
class TensorInfo:
    """An input or output in the arena: ``real = scale * (integer - zero_point)``.

    The file holds `scale` as float32.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    offset: int
    nbytes: int
    layout: str = ""


@dataclass(frozen=True)
class StateInfo:
    """A tensor that outlives an inference. Before the first one it holds the bytes at `initial` of
    the constants where `in_constants`, else the byte `initial` everywhere."""

    tensor: TensorInfo
    in_constants: bool
    initial: int


@dataclass(frozen=True)
class LayerInfo:
    """What a report says of one call."""

    name: str
    op: str
    kernel: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    macs: int
    constant_bytes: int
    scratch_bytes: int
    note: str


@dataclass(frozen=True)
class Golden:
    """One sample and the bytes that every back end must give for it."""

    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


@dataclass(frozen=True)
class Bundle:
    """The whole of model.ekb."""

    name: str
    target: str
    producer: str
    arena_bytes: int
    kernels: tuple[int, ...]
    calls: tuple[CallRef, ...]
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    constants: bytes
    layers: tuple[LayerInfo, ...]
    golden: tuple[Golden, ...] = ()
    states: tuple[StateInfo, ...] = ()
    format_version: int = FORMAT_VERSION
    gpu: Gpu | None = None

    @property
    def hash(self) -> bytes:
        """Eight bytes that name what this bundle computes and where its inputs and outputs lie."""
        numbers = [self.arena_bytes, len(self.kernels), *self.kernels, len(self.calls)]
        for call in self.calls:
            numbers += [call.kernel, len(call.arguments)]
            for a in call.arguments:
                numbers += [a.offset, a.nbytes, a.space]
        for tensors in (self.inputs, self.outputs):
            numbers.append(len(tensors))
            for t in tensors:
                # The scale as the file holds it, so that reading gives the hash of writing.
                (scale,) = struct.unpack("<I", struct.pack("<f", t.scale))
                numbers += [t.offset, t.nbytes, scale, t.zero_point & 0xFFFFFFFF]
        for state in self.states:
            numbers += [state.tensor.offset, state.tensor.nbytes, state.in_constants, state.initial]
        digest = hashlib.sha256(self.target.encode() + b"\0")
        digest.update(b"".join(n.to_bytes(8, "little") for n in numbers))
        digest.update(self.constants)
        if self.gpu is not None:
            digest.update(self.gpu.digest())
        return digest.digest()[:8]
