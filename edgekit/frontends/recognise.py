"""What a model file is, told by its content."""

from __future__ import annotations

from enum import Enum
from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive
from edgekit.frontends.pt2 import root_of


class Kind(Enum):
    """The kinds that a framework's converter has to read."""

    PT2 = "pt2"
    KERAS = "keras"
    H5 = "h5"
    SAVED_MODEL = "SavedModel"


#: The three lines that turn a module into a file which edgekit takes.
EXPORT = (
    "in the program that defines the module: model.load_state_dict(torch.load('FILE')); "
    "ep = torch.export.export(model.eval(), (example_input,)); torch.export.save(ep, 'model.pt2')"
)


def recognise(path: Path, data: bytes) -> Kind | None:
    """The kind of the file `path` with the content `data`, None where no front end is asked.

    Raises:
        EdgekitError: E161 for files that only running the code in them opens (pickles,
            TorchScript), E164 for a zip archive that is damaged or absurd.
    """
    if data.startswith(b"\x89HDF\r\n\x1a\n"):
        return Kind.H5
    if _is_pickle(data):
        raise _program(path.name, "a pickle, which is a program")
    if not data.startswith(b"PK\x03\x04"):
        return None
    archive = Archive(data, path.name)
    root = root_of(archive)
    if {"config.json", "model.weights.h5"} <= archive.sizes.keys():
        return Kind.KERAS
    if f"{root}/archive_format" in archive.sizes or f"{root}/models/model.json" in archive.sizes:
        return Kind.PT2
    if any(file.startswith(f"{root}/code/") for file in archive.sizes):
        raise _program(path.name, "TorchScript, which is a program")
    if any(file.endswith("data.pkl") for file in archive.sizes):
        raise _program(path.name, "a pickle, which is a program")
    raise EdgekitError(
        "E101",
        f"{path.name} is a zip archive, but no model that is known",
        help="give an .onnx, .tflite, .pt2 or .keras file, or a SavedModel folder",
    )


def _is_pickle(data: bytes) -> bool:
    """A pickle of protocol 2 to 5: PROTO first, STOP last."""
    return data[:1] == b"\x80" and data[1:2] in b"\2\3\4\5" and len(data) > 2


def _program(name: str, what: str) -> EdgekitError:
    return EdgekitError(
        "E161", f"{name} is {what}: opening it would run what is in it", help=EXPORT
    )
