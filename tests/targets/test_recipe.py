"""docs/ADDING_A_BOARD.md, followed as it is written."""

from __future__ import annotations

import json
import re
import shutil
import struct
from pathlib import Path

import pytest
from click.testing import CliRunner
from devices.chip_double import ChipDouble, Registers, take

from edgekit.cli import cli
from edgekit.devices import protocol
from edgekit.devices.find import all_boards, find_board
from edgekit.devices.firmware.image import load_elf, load_symbols
from edgekit.errors import EdgekitError
from edgekit.execute import build
from edgekit.output import Output, open_output

PAGE = Path(__file__).parents[2] / "docs" / "ADDING_A_BOARD.md"
NAME = "nucleo-f411re"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Step 3: the file that the page shows, in a folder of the user's."""
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    folder = tmp_path / "my-boards"
    folder.mkdir()
    (folder / f"{NAME}.toml").write_text(text)
    return folder


def test_the_recipe_gives_firmware_that_answers(
    folder: Path, tmp_path: Path, digits: Output, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 4 up to the cable: firmware of the digits model for a board that edgekit has not."""
    with pytest.raises(EdgekitError):
        find_board(NAME)
    monkeypatch.setenv("EDGEKIT_BOARDS", str(folder))
    shown = CliRunner().invoke(cli, ["boards", NAME])
    assert shown.exit_code == 0 and "STM32F411RET6" in shown.output
    board = find_board(NAME)
    out = shutil.copytree(digits.path, tmp_path / "digits")
    firmware = build(open_output(out), board)

    image, symbols = load_elf(firmware.elf), load_symbols(firmware.elf)
    assert all(a >= 0x800_0000 and a + len(d) <= 0x808_0000 for a, d in image.segments)
    stack, start = struct.unpack_from("<2I", image.segments[0][1])
    assert image.segments[0][0] == 0x800_0000 == symbols["__vectors_start"]
    assert stack == symbols["__stack_end"] and start == symbols["Reset_Handler"] | 1
    content = b"".join(data for _, data in image.segments)
    first, last = board.setup[0], board.setup[-1]
    assert struct.pack("<3I", first.address | 1, first.mask, first.value) in content
    assert struct.pack("<3I", last.address | 1, last.mask, last.value) in content

    assert take(Registers(board.chip), board.setup) == []
    chip = ChipDouble(board, firmware.elf)
    chip.start()
    assert chip.run()
    chip.uart.received += protocol.encode(protocol.HELLO, 1, b"\1")
    assert chip.run()
    (frame,) = protocol.Decoder().feed(bytes(chip.uart.sent))
    assert frame.type == b"h" and int.from_bytes(frame.payload[1:5], "little") == 0
    assert abs(chip.uart.baud() / 115_200 - 1) < 0.02


def test_a_path_is_a_board_too(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_BOARDS", raising=False)
    board = find_board(str(folder / f"{NAME}.toml"))
    assert board.name == NAME and NAME not in all_boards()


def test_what_is_wrong_with_a_folder_or_file_is_said(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = folder / f"{NAME}.toml"
    whole = path.read_text()
    path.write_text(whole.replace('"set 0x40023830 0x1', '"set 0x40023831 0x1'))
    with pytest.raises(EdgekitError, match="'setup' step 8: address 0x40023831") as error:
        find_board(str(path))
    assert error.value.code == "E510" and str(folder) in error.value.message
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(EdgekitError) as error:
        find_board(str(path))
    assert error.value.code == "E510"
    with pytest.raises(EdgekitError, match=r"cannot read board file .*none\.toml") as error:
        find_board(str(folder / "none.toml"))
    assert error.value.code == "E510"
    path.rename(folder / "nucleo-f401re.toml")
    (folder / "nucleo-f401re.toml").write_text(whole.replace(NAME, "nucleo-f401re"))
    monkeypatch.setenv("EDGEKIT_BOARDS", str(folder))
    with pytest.raises(EdgekitError, match="name of a board of edgekit, 'nucleo-f401re'") as error:
        find_board("nucleo-f401re")
    assert error.value.code == "E513"
    monkeypatch.setenv("EDGEKIT_BOARDS", str(folder / "missing"))
    with pytest.raises(EdgekitError, match="no such folder") as error:
        find_board("nucleo-f401re")
    assert error.value.code == "E513"


@pytest.mark.parametrize("name", ["esp32-s3-devkitc", "teensy-4.1"])
def test_packages_are_the_only_way_to_some(name: str, tmp_path: Path) -> None:
    from edgekit.devices.routes import open_route, refuse_packages_only

    board = find_board(name)
    for refuse in (refuse_packages_only, open_route):
        with pytest.raises(EdgekitError, match=f"cannot flash board '{name}'") as error:
            refuse(board)  # type: ignore[operator]
        assert error.value.code == "E511"
        assert f"--as {board.packages_only}" in str(error.value)


def test_boards_are_listed_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDGEKIT_BOARDS", raising=False)
    runner = CliRunner()
    listed = json.loads(runner.invoke(cli, ["boards", "--json", "-"]).output)
    by_name = {row["board"]: row for row in listed}
    assert by_name["nucleo-h743zi"]["features"] == "FPU, DSP"
    assert by_name["qemu-mps3-an547"]["features"] == "FPU, MVE"
    assert by_name["nucleo-g0b1re"]["features"] == ""
    assert by_name["esp32-s3-devkitc"]["core"] == "xtensa-lx7"
    assert by_name["teensy-4.1"]["routes"] == "package: arduino"
    assert "microbit-v2" in runner.invoke(cli, ["boards"]).output
    shown = runner.invoke(cli, ["boards", "nucleo-f401re"]).output
    for text in ("0x08000000", "RCC.PLLCFGR", "stm32f401retx", "never run on hardware"):
        assert text in shown
    one = json.loads(runner.invoke(cli, ["boards", "nucleo-f401re", "--json", "-"]).output)
    assert one["uart"]["clock_hz"] == 42_000_000 and one["setup"][0]["op"] == "write"
    page = tmp_path / "BOARDS.md"
    runner.invoke(cli, ["boards", "--markdown", str(page)])
    assert page.read_text() == (PAGE.parent / "BOARDS.md").read_text()
