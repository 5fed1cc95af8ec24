"""`model.ekb`: writing, reading and verifying bundles on the host."""

from edgekit.bundle.model import (
    FORMAT_OLDEST,
    FORMAT_VERSION,
    ArgumentRef,
    Bundle,
    CallRef,
    Golden,
    LayerInfo,
    StateInfo,
    TensorInfo,
)
from edgekit.bundle.reader import read_bundle
from edgekit.bundle.writer import write_bundle

__all__ = [
    "FORMAT_OLDEST",
    "FORMAT_VERSION",
    "ArgumentRef",
    "Bundle",
    "CallRef",
    "Golden",
    "LayerInfo",
    "StateInfo",
    "TensorInfo",
    "read_bundle",
    "write_bundle",
]
