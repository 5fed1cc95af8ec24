"""Bytes as a Bundle, refusing what is damaged.

The checks come in the order of firmware/src/ek_verify.c: footer, version and checksum first; then
everything is read, and a table that leaves the file is an error; then what was read is compared
with itself (`edgekit.bundle.check`) and with the hash.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

from edgekit.bundle.check import contradiction
from edgekit.bundle.gpu import FIELDS, NUMBERS, ROWS, Gpu
from edgekit.bundle.model import (
    FILE_IDENTIFIER,
    FOOTER_BYTES,
    FOOTER_MAGIC,
    FORMAT_OLDEST,
    FORMAT_VERSION,
    MAX_ARGUMENTS,
    MAX_RANK,
    ArgumentRef,
    Bundle,
    CallRef,
    Golden,
    LayerInfo,
    StateInfo,
    TensorInfo,
)
from edgekit.errors import EdgekitError

REMAKE = "make the bundle again with edgekit compile"
#: What reading past the end, following an absent field or decoding garbage raises.
_BROKEN = (struct.error, IndexError, ValueError, TypeError, OverflowError, AttributeError)


def read_bundle(data: bytes, name: str = "bundle") -> Bundle:
    """Parse `data`; `name` is used in messages.

    Raises:
        EdgekitError: E401 not a bundle, E402 cut off, E403 a format we do not read, E404 damaged,
            E405 inconsistent although the checksum is right.
    """
    payload, version = _checked_payload(data, name)
    try:
        bundle = _parse(payload, version)
        wrong = contradiction(bundle)
        # The hash is over all that is executed; a bundle that was edited by hand fails here.
        if wrong is None and _hash(payload) != bundle.hash:
            wrong = "the hash inside is not that of the contents"
    except _BROKEN:
        wrong = "a table inside is missing, leaves the file or is too long"
    if wrong:
        raise EdgekitError("E405", f"{name} contradicts itself: {wrong}", help=REMAKE)
    return bundle


def _checked_payload(data: bytes, name: str) -> tuple[bytes, int]:
    if len(data) < 8 or data[4:8] != FILE_IDENTIFIER:
        raise EdgekitError(
            "E401", f"{name} is not a bundle (no '{FILE_IDENTIFIER.decode()}' at byte 4)",
            help="give the folder or the model.ekb that edgekit compile wrote",
        )  # fmt: skip
    footer = struct.unpack("<4I", data[-FOOTER_BYTES:]) if len(data) >= FOOTER_BYTES + 8 else None
    if footer is None or footer[0] != FOOTER_MAGIC or footer[2] != len(data) - FOOTER_BYTES:
        said = footer[2] + FOOTER_BYTES if footer and footer[0] == FOOTER_MAGIC else None
        raise EdgekitError(
            "E402",
            f"{name} is cut off or has bytes added: {len(data)} bytes"
            + (f", its footer says {said}" if said else ", no footer at the end"),
            help=REMAKE,
        )
    if not FORMAT_OLDEST <= footer[1] <= FORMAT_VERSION:
        raise EdgekitError(
            "E403",
            f"{name} has format {footer[1]}, this edgekit reads {FORMAT_OLDEST} to "
            f"{FORMAT_VERSION}",
            help="use the edgekit that wrote it, or compile again",
        )
    if (found := zlib.crc32(data[:-4])) != footer[3]:
        raise EdgekitError(
            "E404",
            f"{name} is damaged: checksum {found:08x}, should be {footer[3]:08x}",
            help=REMAKE,
        )
    return data[:-FOOTER_BYTES], footer[1]


def _model(payload: bytes) -> Any:
    from edgekit.bundle.generated.Model import Model

    return Model.GetRootAs(payload, 0)


def _hash(payload: bytes) -> bytes:
    m = _model(payload)
    return bytes(m.Hash(i) for i in range(m.HashLength()))


def _bound(size: int, m: Any, program: Any) -> None:
    """Refuse counts that the file cannot hold before anything loops over them."""
    counts = (
        *(program.ArgumentsLength(), program.CallsLength(), program.KernelsLength()),
        *(m.InputsLength(), m.OutputsLength(), m.LayersLength(), m.GoldenLength()),
        *(m.ConstantsLength(), m.HashLength(), m.StatesLength()),
    )
    if max(counts) > size:
        raise ValueError("a vector is longer than the file")


def _parse(payload: bytes, version: int) -> Bundle:
    m = _model(payload)
    if m.FormatVersion() != version:
        raise ValueError("two versions")
    program = m.Program()
    arguments = _each(program.ArgumentsLength(), program.Arguments, payload)
    refs = [ArgumentRef(a.Offset(), a.Nbytes(), a.Space()) for a in arguments]
    calls = []
    for call in _each(program.CallsLength(), program.Calls, payload):
        first, count = call.FirstArgument(), call.ArgumentCount()
        if first + count > len(refs) or count > MAX_ARGUMENTS:
            raise ValueError("a call names arguments that are not there")
        calls.append(CallRef(call.Kernel(), tuple(refs[first : first + count])))
    return Bundle(
        name=m.Name().decode(),
        target=m.Target().decode(),
        producer=m.Producer().decode(),
        arena_bytes=program.ArenaBytes(),
        kernels=tuple(
            k.Fingerprint() for k in _each(program.KernelsLength(), program.Kernels, payload)
        ),
        calls=tuple(calls),
        inputs=tuple(_tensor(m.Inputs(i)) for i in range(m.InputsLength())),
        outputs=tuple(_tensor(m.Outputs(i)) for i in range(m.OutputsLength())),
        constants=m.ConstantsAsNumpy().tobytes() if m.ConstantsLength() else b"",
        layers=tuple(_layer(m.Layers(i)) for i in range(m.LayersLength())),
        golden=tuple(_golden(m.Golden(i)) for i in range(m.GoldenLength())),
        states=tuple(_state(m.States(i)) for i in range(m.StatesLength())),
        format_version=version,
        gpu=_gpu(m.Gpu(), payload),
    )


def _gpu(g: Any, payload: bytes) -> Gpu | None:
    if g is None:
        return None
    vectors: dict[str, Any] = {
        name: tuple(map(row._make, _words(g, name, len(row._fields), payload)))
        for name, row in ROWS.items()
    }
    vectors |= {name: tuple(n for (n,) in _words(g, name, 1, payload)) for name in NUMBERS}
    for name in ("Text", "Constants", "Spirv"):
        if getattr(g, f"{name}Length")() > len(payload):
            raise ValueError("a vector is longer than the file")
        data = getattr(g, f"{name}AsNumpy")() if getattr(g, f"{name}Length")() else b""
        vectors[name.lower()] = bytes(data)
    prelude = g.Prelude()
    return Gpu(
        **vectors,
        prelude=(prelude.Start(), prelude.Nbytes()) if prelude is not None else (0, 0),
        arena_bytes=g.ArenaBytes(),
    )


def _words(g: Any, name: str, words: int, payload: bytes) -> list[tuple[int, ...]]:
    """The rows of a vector of structs of 32-bit numbers."""
    count = getattr(g, f"{name.capitalize()}Length")()
    if getattr(g, f"{name.capitalize()}IsNone")():
        raise ValueError("a vector is missing")
    if count > len(payload) // (4 * words):
        raise ValueError("more structs than bytes")
    at = g._tab.Vector(g._tab.Offset(4 + 2 * FIELDS.index(name)))
    data = payload[at : at + 4 * words * count]
    if len(data) != 4 * words * count:
        raise ValueError("a vector leaves the file")
    return list(struct.iter_unpack(f"<{words}I", data))


def _each(count: int, at: Callable[[int], Any], payload: bytes) -> list[Any]:
    # flatbuffers makes a view of a struct without reading it: nothing would stop at the file's end.
    if count > len(payload) // 8:
        raise ValueError("more structs than bytes")
    return [at(i) for i in range(count)]


def _tensor(t: Any) -> TensorInfo:
    return TensorInfo(
        name=t.Name().decode(),
        shape=_shape(t.ShapeLength(), t.Shape),
        dtype=t.Dtype().decode(),
        scale=t.Scale(),
        zero_point=t.ZeroPoint(),
        offset=t.Offset(),
        nbytes=t.Nbytes(),
        layout=(t.Layout() or b"").decode(),
    )


def _state(t: Any) -> StateInfo:
    if t.InitialSpace() > 1:
        raise ValueError("an unknown space")
    return StateInfo(_tensor(t), bool(t.InitialSpace()), t.Initial())


def _shape(rank: int, at: Callable[[int], int]) -> tuple[int, ...]:
    # Tables may share one vector: without a limit a small file could ask for endless reading.
    if rank > MAX_RANK:
        raise ValueError("too many axes")
    return tuple(at(i) for i in range(rank))


def _layer(layer: Any) -> LayerInfo:
    return LayerInfo(
        name=layer.Name().decode(),
        op=layer.Op().decode(),
        kernel=layer.Kernel().decode(),
        input_shape=_shape(layer.InputShapeLength(), layer.InputShape),
        output_shape=_shape(layer.OutputShapeLength(), layer.OutputShape),
        macs=layer.Macs(),
        constant_bytes=layer.ConstantBytes(),
        scratch_bytes=layer.ScratchBytes(),
        note=(layer.Note() or b"").decode(),
    )


def _golden(g: Any) -> Golden:
    def blob(b: Any) -> bytes:
        return b.DataAsNumpy().tobytes() if b.DataLength() else b""

    return Golden(
        tuple(blob(g.Inputs(i)) for i in range(g.InputsLength())),
        tuple(blob(g.Outputs(i)) for i in range(g.OutputsLength())),
    )
