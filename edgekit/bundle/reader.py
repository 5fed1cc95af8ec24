"""Bytes as a Bundle, refusing what is damaged.

The checks mirror firmware/src/ek_verify.c: footer, version and checksum first; then everything that
the FlatBuffer says about itself is read, and a table that leaves the file is an error by name.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from edgekit.bundle.model import (
    FILE_IDENTIFIER,
    FOOTER_BYTES,
    FOOTER_MAGIC,
    FORMAT_OLDEST,
    FORMAT_VERSION,
    ArgumentRef,
    Bundle,
    CallRef,
    Golden,
    LayerInfo,
    TensorInfo,
)
from edgekit.errors import EdgekitError

REMAKE = "make the bundle again with edgekit compile"


def read_bundle(data: bytes, name: str = "bundle") -> Bundle:
    """Parse `data`; `name` is used in messages.

    Raises:
        EdgekitError: E401 not a bundle, E402 cut off, E403 a format we do not read, E404 damaged,
            E405 inconsistent although the checksum is right.
    """
    payload, version = _checked_payload(data, name)
    try:
        bundle = _parse(payload, version)
        # The hash is over all that matters; a bundle that was edited by hand fails here.
        consistent = bytes(_model(payload).Hash(i) for i in range(8)) == bundle.hash
    except (struct.error, IndexError, ValueError, TypeError, UnicodeDecodeError, AttributeError):
        consistent = False
    if not consistent:
        raise EdgekitError("E405", f"{name}: the tables inside contradict each other", help=REMAKE)
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
    payload = data[:-FOOTER_BYTES]
    if (found := zlib.crc32(payload)) != footer[3]:
        raise EdgekitError(
            "E404",
            f"{name} is damaged: checksum {found:08x}, should be {footer[3]:08x}",
            help=REMAKE,
        )
    return payload, footer[1]


def _model(payload: bytes) -> Any:
    from edgekit.bundle.generated.Model import Model

    return Model.GetRootAs(payload, 0)


def _parse(payload: bytes, version: int) -> Bundle:
    m = _model(payload)
    program = m.Program()
    arguments = [program.Arguments(i) for i in range(program.ArgumentsLength())]
    refs = [ArgumentRef(a.Offset(), a.Nbytes(), a.Space()) for a in arguments]
    calls = []
    for i in range(program.CallsLength()):
        call = program.Calls(i)
        first, count = call.FirstArgument(), call.ArgumentCount()
        if first + count > len(refs):
            raise ValueError("a call names arguments that are not there")
        calls.append(CallRef(call.Kernel(), tuple(refs[first : first + count])))
    return Bundle(
        name=m.Name().decode(),
        target=m.Target().decode(),
        producer=m.Producer().decode(),
        arena_bytes=program.ArenaBytes(),
        kernels=tuple(program.Kernels(i).Fingerprint() for i in range(program.KernelsLength())),
        calls=tuple(calls),
        inputs=tuple(_tensor(m.Inputs(i)) for i in range(m.InputsLength())),
        outputs=tuple(_tensor(m.Outputs(i)) for i in range(m.OutputsLength())),
        constants=m.ConstantsAsNumpy().tobytes() if m.ConstantsLength() else b"",
        layers=tuple(_layer(m.Layers(i)) for i in range(m.LayersLength())),
        golden=tuple(_golden(m.Golden(i)) for i in range(m.GoldenLength())),
        format_version=version,
    )


def _tensor(t: Any) -> TensorInfo:
    return TensorInfo(
        name=t.Name().decode(),
        shape=tuple(t.Shape(i) for i in range(t.ShapeLength())),
        dtype=t.Dtype().decode(),
        scale=t.Scale(),
        zero_point=t.ZeroPoint(),
        offset=t.Offset(),
        nbytes=t.Nbytes(),
        layout=(t.Layout() or b"").decode(),
    )


def _layer(layer: Any) -> LayerInfo:
    return LayerInfo(
        name=layer.Name().decode(),
        op=layer.Op().decode(),
        kernel=layer.Kernel().decode(),
        input_shape=tuple(layer.InputShape(i) for i in range(layer.InputShapeLength())),
        output_shape=tuple(layer.OutputShape(i) for i in range(layer.OutputShapeLength())),
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
