"""Files told apart by content, and what is refused before any framework sees it."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from pathlib import Path

import pytest

from edgekit.cli import main
from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.recognise import Kind, recognise
from edgekit.importers import load


class Touch:
    """A pickle that makes a file when it is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self.path,))


def test_kinds() -> None:
    here = Path("model")
    assert recognise(here, pack({"m/archive_format": b"pt2"})) is Kind.PT2
    assert recognise(here, pack({"config.json": b"", "model.weights.h5": b""})) is Kind.KERAS
    assert recognise(here, b"\x89HDF\r\n\x1a\n and so on") is Kind.H5
    assert recognise(here, b"\x08\x08\x12\x00") is None  # ONNX


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.onnx"])
def test_pickles_are_refused_and_not_run(tmp_path: Path, protocol: int, name: str) -> None:
    mark = tmp_path / "mark"
    (tmp_path / name).write_bytes(pickle.dumps(Touch(mark), protocol))
    with pytest.raises(EdgekitError, match="a pickle") as refusal:
        load(tmp_path / name)
    assert refusal.value.code == "E161"
    for line in ("model.load_state_dict(torch.load('FILE'))", "torch.export.export(",
                 "torch.export.save(ep, 'model.pt2')"):  # fmt: skip
        assert line in refusal.value.help
    assert not mark.exists()


def test_what_torch_save_and_torchscript_write(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mark = tmp_path / "mark"
    state = {"m/data.pkl": pickle.dumps(Touch(mark)), "m/version": b"3", "m/data/0": bytes(4)}
    script = {**state, "m/code/__torch__.py": b"", "m/constants.pkl": b""}
    for files, word in ((state, "a pickle"), (script, "TorchScript")):
        path = tmp_path / "model.pt"
        path.write_bytes(pack(files))
        assert main(["check", str(path)]) == 1
        said = capsys.readouterr().err
        assert said.startswith("error: E161 model.pt is ") and word in said
    assert not mark.exists()


def test_other_archives(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="no model that is known") as refusal:
        recognise(tmp_path / "data.npz", pack({"x.npy": b""}))
    assert refusal.value.code == "E101"


def test_directories(tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="without a saved_model") as refusal:
        load(tmp_path)
    assert refusal.value.code == "E101"


def bomb(declared: int | None = None) -> bytes:
    """Two kilobytes that unpack to two megabytes and more; the table may say less."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", bytes(3 << 20))
        archive.writestr("model.weights.h5", b"")
    data = packed.getvalue()
    if declared is not None:
        real, said = struct.pack("<I", 3 << 20), struct.pack("<I", declared)
        data = data.replace(real, said)
    return data


def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(bomb())
    with pytest.raises(EdgekitError, match="claims to unpack to 3145728") as refusal:
        load(tmp_path / "m.keras")
    assert refusal.value.code == "E164"


def test_a_file_longer_than_declared_is_refused() -> None:
    archive = Archive(bomb(declared=1000), "m.keras")
    with pytest.raises(EdgekitError) as refusal:
        archive.read("config.json")
    assert refusal.value.code == "E164"


def test_names_that_occur_twice() -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive, pytest.warns(UserWarning):
        archive.writestr("config.json", b"1")
        archive.writestr("config.json", b"2")
    with pytest.raises(EdgekitError, match="2 files under 1 names"):
        Archive(packed.getvalue(), "m.keras")
