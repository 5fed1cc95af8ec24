"""A Bundle as bytes: the FlatBuffer of `model.fbs`, then the footer with length and checksum."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from edgekit.bundle.gpu import NUMBERS, PLACE_ALIGN, ROWS, Gpu
from edgekit.bundle.model import (
    FILE_IDENTIFIER,
    FOOTER_MAGIC,
    FORMAT_VERSION,
    Bundle,
    LayerInfo,
    StateInfo,
    TensorInfo,
)

CONSTANT_ALIGN = 16


def write_bundle(bundle: Bundle) -> bytes:
    """Serialise; the same bundle always gives the same bytes.

    Nothing is checked here: `read_bundle` does that.
    """
    import flatbuffers

    b = flatbuffers.Builder(len(bundle.constants) + 4096)
    payload = _Writer(b).model(bundle)
    payload += bytes(-len(payload) % CONSTANT_ALIGN)
    return seal(payload, bundle.format_version)


def seal(payload: bytes, format_version: int = FORMAT_VERSION) -> bytes:
    """`payload` with its footer: magic, version, length, CRC-32 of everything before the CRC."""
    covered = payload + struct.pack("<3I", FOOTER_MAGIC, format_version, len(payload))
    return covered + struct.pack("<I", zlib.crc32(covered))


class _Writer:
    """FlatBuffers are built from the leaves up: each method returns an offset."""

    def __init__(self, builder: Any) -> None:
        self.b = builder

    def model(self, bundle: Bundle) -> bytes:
        from edgekit.bundle.generated import Model as M

        b = self.b
        golden = self.tables([self.golden(g.inputs, g.outputs) for g in bundle.golden])
        layers = self.tables([self.layer(layer) for layer in bundle.layers])
        inputs = self.tables([self.tensor(t) for t in bundle.inputs])
        outputs = self.tables([self.tensor(t) for t in bundle.outputs])
        states = self.tables([self.tensor(s.tensor, s) for s in bundle.states])
        program = self.program(bundle)
        gpu = self.gpu(bundle.gpu) if bundle.gpu is not None else None
        constants = self.bytes(bundle.constants, CONSTANT_ALIGN)
        digest = self.bytes(bundle.hash)
        name, target, producer = map(b.CreateString, (bundle.name, bundle.target, bundle.producer))
        M.Start(b)
        M.AddFormatVersion(b, bundle.format_version)
        M.AddProgram(b, program)
        M.AddInputs(b, inputs)
        M.AddOutputs(b, outputs)
        M.AddConstants(b, constants)
        M.AddHash(b, digest)
        M.AddName(b, name)
        M.AddTarget(b, target)
        M.AddProducer(b, producer)
        M.AddLayers(b, layers)
        M.AddGolden(b, golden)
        M.AddStates(b, states)
        if gpu is not None:
            M.AddGpu(b, gpu)
        b.Finish(M.End(b), file_identifier=FILE_IDENTIFIER)
        return bytes(b.Output())

    def program(self, bundle: Bundle) -> int:
        from edgekit.bundle.generated import ArgumentRef, CallRef, KernelRef
        from edgekit.bundle.generated import Program as P

        b = self.b
        arguments = [a for call in bundle.calls for a in call.arguments]
        firsts, total = [], 0
        for call in bundle.calls:
            firsts.append(total)
            total += len(call.arguments)
        kernel_vector = self.structs(
            P.StartKernelsVector, [(k,) for k in bundle.kernels], KernelRef.CreateKernelRef
        )
        call_vector = self.structs(
            P.StartCallsVector,
            [(f, c.kernel, len(c.arguments)) for f, c in zip(firsts, bundle.calls, strict=True)],
            CallRef.CreateCallRef,
        )
        argument_vector = self.structs(
            P.StartArgumentsVector,
            [(a.offset, a.nbytes, a.space) for a in arguments],
            ArgumentRef.CreateArgumentRef,
        )
        P.Start(b)
        P.AddArenaBytes(b, bundle.arena_bytes)
        P.AddKernels(b, kernel_vector)
        P.AddCalls(b, call_vector)
        P.AddArguments(b, argument_vector)
        return int(P.End(b))

    def tensor(self, t: TensorInfo, state: StateInfo | None = None) -> int:
        from edgekit.bundle.generated import Tensor as T

        b = self.b
        name, dtype, layout = map(b.CreateString, (t.name, t.dtype, t.layout))
        shape = self.int32s(t.shape)
        T.Start(b)
        T.AddOffset(b, t.offset)
        T.AddNbytes(b, t.nbytes)
        T.AddName(b, name)
        T.AddDtype(b, dtype)
        T.AddShape(b, shape)
        T.AddScale(b, t.scale)
        T.AddZeroPoint(b, t.zero_point)
        T.AddLayout(b, layout)
        if state is not None:
            T.AddInitialSpace(b, int(state.in_constants))
            T.AddInitial(b, state.initial)
        return int(T.End(b))

    def layer(self, layer: LayerInfo) -> int:
        from edgekit.bundle.generated import Layer as L

        b = self.b
        name, op, kernel, note = map(
            b.CreateString, (layer.name, layer.op, layer.kernel, layer.note)
        )
        input_shape, output_shape = self.int32s(layer.input_shape), self.int32s(layer.output_shape)
        L.Start(b)
        L.AddName(b, name)
        L.AddOp(b, op)
        L.AddKernel(b, kernel)
        L.AddInputShape(b, input_shape)
        L.AddOutputShape(b, output_shape)
        L.AddMacs(b, layer.macs)
        L.AddConstantBytes(b, layer.constant_bytes)
        L.AddScratchBytes(b, layer.scratch_bytes)
        L.AddNote(b, note)
        return int(L.End(b))

    def golden(self, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> int:
        from edgekit.bundle.generated import Golden as G

        b = self.b
        ins = self.tables([self.blob(data) for data in inputs])
        outs = self.tables([self.blob(data) for data in outputs])
        G.Start(b)
        G.AddInputs(b, ins)
        G.AddOutputs(b, outs)
        return int(G.End(b))

    def blob(self, data: bytes) -> int:
        from edgekit.bundle.generated import Blob

        offset = self.bytes(data)
        Blob.Start(self.b)
        Blob.AddData(self.b, offset)
        return int(Blob.End(self.b))

    def gpu(self, gpu: Gpu) -> int:
        from edgekit.bundle.generated import Gpu as G
        from edgekit.bundle.generated.GpuText import CreateGpuText

        b = self.b
        vectors = {name: self.words(getattr(gpu, name)) for name in ROWS}
        vectors |= {name: self.words([(n,) for n in getattr(gpu, name)]) for name in NUMBERS}
        vectors["text"] = self.bytes(gpu.text)
        vectors["spirv"] = self.bytes(gpu.spirv, 4)
        vectors["constants"] = self.bytes(gpu.constants, PLACE_ALIGN)
        G.Start(b)
        for name, vector in vectors.items():
            getattr(G, f"Add{name.capitalize()}")(b, vector)
        G.AddPrelude(b, CreateGpuText(b, *gpu.prelude))
        G.AddArenaBytes(b, gpu.arena_bytes)
        return int(G.End(b))

    # ---- vectors

    def words(self, rows: Sequence[tuple[int, ...]]) -> int:
        """Structs of 32-bit numbers."""
        data = b"".join(struct.pack(f"<{len(row)}I", *row) for row in rows)
        b = self.b
        b.StartVector(4 * len(rows[0]) if rows else 4, len(rows), 4)
        b.head = int(b.Head()) - len(data)
        b.Bytes[b.Head() : b.Head() + len(data)] = data
        return int(b.EndVector())

    def bytes(self, data: bytes, align: int = 1) -> int:
        b = self.b
        b.StartVector(1, len(data), align)
        b.head = int(b.Head()) - len(data)
        b.Bytes[b.Head() : b.Head() + len(data)] = data
        return int(b.EndVector())

    def int32s(self, values: Sequence[int]) -> int:
        b = self.b
        b.StartVector(4, len(values), 4)
        for value in reversed(values):
            b.PrependInt32(value)
        return int(b.EndVector())

    def tables(self, offsets: Sequence[int]) -> int:
        b = self.b
        b.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            b.PrependUOffsetTRelative(offset)
        return int(b.EndVector())

    def structs(
        self, start: Callable[..., Any], rows: Sequence[tuple[int, ...]], create: Callable[..., Any]
    ) -> int:
        start(self.b, len(rows))
        for row in reversed(rows):
            create(self.b, *row)
        return int(self.b.EndVector())
