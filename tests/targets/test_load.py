"""Target and board files: what is in the folder, and what a wrong file says."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import targets
from edgekit.devices import find_board, find_target
from edgekit.devices.emulators.cycles import CYCLE_MODELS
from edgekit.devices.routes import Access, find_route
from edgekit.errors import EdgekitError

FOLDER = Path(targets.__file__).parent
BOARD = (FOLDER / "boards" / "qemu-mps2-an386.toml").read_text()
TARGET = (FOLDER / "cortex-m4.toml").read_text()


def load_board(tmp_path: Path, text: str) -> targets.Board:
    path = tmp_path / "qemu-mps2-an386.toml"
    path.write_text(text)
    return targets.load_board(path, targets.targets())


def test_every_file_loads_and_names_fit() -> None:
    assert set(targets.targets()) == {p.stem for p in FOLDER.glob("*.toml")}
    assert set(targets.boards()) == {p.stem for p in (FOLDER / "boards").glob("*.toml")}
    for target in targets.targets().values():
        assert targets.board(target.default_board).target is target
        assert target.cycle_model in CYCLE_MODELS


def test_a_new_board_is_one_file(tmp_path: Path) -> None:
    board = load_board(tmp_path, BOARD)
    assert board == targets.board("qemu-mps2-an386")
    assert board.flash.size == board.ram.size == 4 << 20
    assert board.ticks_per_instruction == pytest.approx(1.6)


def test_every_board_has_routes_that_exist() -> None:
    for board in targets.boards().values():
        for name in board.routes:
            assert find_route(name).name == name
            assert find_route(name).proven


def test_wait_states_are_optional(tmp_path: Path) -> None:
    assert load_board(tmp_path, BOARD).flash_wait_states == 0
    slow = load_board(
        tmp_path, BOARD.replace("size = 0x40_0000", "size = 0x40_0000\nwait_states = 5", 1)
    )
    assert (slow.flash_wait_states, slow.ram.wait_states) == (5, 0)
    with pytest.raises(targets.TargetFileError, match="'wait_states' is -1, must be 0 to 255"):
        load_board(
            tmp_path, BOARD.replace("size = 0x40_0000", "size = 0x40_0000\nwait_states = -1")
        )


def test_transports_are_the_usual_unless_the_file_says_which(tmp_path: Path) -> None:
    assert load_board(tmp_path, BOARD).transports == targets.USUAL_TRANSPORTS
    text = BOARD.replace("clock_hz", 'transports = ["rtt", "uart"]\nclock_hz', 1)
    assert load_board(tmp_path, text).transports == ("rtt", "uart")


def test_unknown_names_carry_the_known_ones() -> None:
    with pytest.raises(LookupError) as caught:
        targets.board("virtual")
    assert "virtual-cortex-m4" in caught.value.known  # type: ignore[attr-defined]
    with pytest.raises(EdgekitError, match="did you mean 'virtual-cortex-m") as error:
        find_board("virtual-cortex-m5")
    assert error.value.code == "E601"
    with pytest.raises(EdgekitError, match="did you mean 'cortex-m4'") as error:
        find_target("cortexm4")
    assert error.value.code == "E301"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('name = "qemu-mps2-an386"', 'name = "other"', "'name' is 'other', must be"),
        ("clock_hz", "clock", "key 'clock_hz' is missing"),
        ("[uart]", "colour = 1\n[uart]", r"\[\[regions\]\] 1: unknown key 'colour'"),
        ('description = "', 'extra = 1\ndescription = "', "unknown key 'extra'"),
        ("clock_hz = 25_000_000", 'clock_hz = "fast"', "'clock_hz' must be int, is str"),
        ("clock_hz = 25_000_000", "clock_hz = true", "'clock_hz' must be int, is bool"),
        ("clock_hz = 25_000_000", "clock_hz = 0", "'clock_hz' is 0, must be 1 to"),
        (
            'target = "cortex-m4"',
            'target = "z80"',
            "'target' is 'z80', must be one of: armv7-neon, cortex",
        ),
        ("clock_hz", "flash_line_bytes = 24\nclock_hz", "'flash_line_bytes' is 24, not a power"),
        ('machine = "', 'arguments = [1]\nmachine = "', "'arguments' must be a list of strings"),
        ("start = 0x2000_0000", "start = 0x0000_1000", "'FLASH' ends at 0x400000 and overlaps"),
        ("start = 0x2000_0000", "start = 0x2000_0001", "multiples of 4096"),
        ('kind = "ram"', 'kind = "flash"', "no region of kind 'ram'"),
        ('name = "RAM"', 'name = "FLASH"', "two regions have the same name"),
        (
            'routes = ["qemu-gdb"]',
            'routes = ["virtual"]',
            r"\[qemu\] and route 'qemu-gdb' go together",
        ),
        ('routes = ["qemu-gdb"]', "routes = []", "'routes' is empty"),
        ("[timer]", "[settings.gdb]\n[timer]", "settings for 'gdb', which is not one of its"),
        ("[timer]", "[settings]\nx = 1\n[timer]", r"\[settings.x\]: only texts and integers"),
        ("clock_hz", 'transports = ["can"]\nclock_hz', "'transports' must name some of uart, rtt"),
        ("clock_hz", 'transports = ["usb"]\nclock_hz', "'usb_device' goes with the transport"),
        ("clock_hz", 'usb_device = "rp2040"\nclock_hz', "'usb_device' goes with the transport"),
        (
            "clock_hz",
            'transports = ["usb"]\nusb_device = "rp2040"\nclock_hz',
            "'usb_device' needs an identifier in 'usb'",
        ),
        ("clock_hz", 'transports = ["rtt", "rtt"]\nclock_hz', "each once"),
        ('"systick"]', '"sundial"]', "not 'sundial'"),
        ("[timer]", "[timers]", "unknown key 'timers'"),
        ("icount_shift = 6", "icount_shift = 11", "'icount_shift' is 11, must be 0 to 10"),
        ("[uart]", "[uart", "qemu-mps2-an386.toml: "),
        (
            "[timer]",
            "[trigger]\nset = 4\nclear = 8\n[timer]",
            r"\[trigger\]: key 'mask' is missing",
        ),
        ("clock_hz", 'boot = "rp2041"\nclock_hz', "'boot' is 'rp2041', must be one of: rp2040"),
        ("clock_hz", "caches = 1\nclock_hz", "'caches' must be true or false"),
        ("[timer]", "[timer]\nbaud = 9600", r"\[timer\]: unknown key 'baud'"),
        ("[timer]\n", "tx_pin = 3\n[timer]\n", r"'tx_pin' and 'rx_pin' go together"),
        ("clock_hz", 'packages_only = "esp-idf"\nclock_hz', "exclude each other"),
        ("clock_hz", 'setup = ["set 4 1", "poke 4 1"]\nclock_hz', "'setup' step 2: 'poke' is none"),
        ("clock_hz", 'cold = ["wait 5 1"]\nclock_hz', "'cold' step 1: address 0x5 is not a mult"),
    ],
)
def test_a_wrong_board_file_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in BOARD
    with pytest.raises(targets.TargetFileError, match=says):
        load_board(tmp_path, BOARD.replace(old, new, 1))


def test_a_counter_needs_its_timer(tmp_path: Path) -> None:
    text = BOARD.replace('[timer]\nkind = "cmsdk"\nbase = 0x4000_0000\n', "")
    with pytest.raises(targets.TargetFileError, match=r"'cmsdk-timer' needs a table \[timer\]"):
        load_board(tmp_path, text)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('families = ["thumb_dsp", "arm_dsp", "c99"]', "families = []", "'families' is empty"),
        (
            'families = ["thumb_dsp", "arm_dsp", "c99"]',
            "families = [1]",
            "must be a list of strings",
        ),
        ("[zig]", "[zag]", "key 'zig' is missing"),
        ("flags = []", "flags = []\nfast = 1", "unknown key 'fast'"),
    ],
)
def test_a_wrong_target_file_is_named(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "cortex-m4.toml"
    path.write_text(TARGET.replace(old, new, 1))
    with pytest.raises(targets.TargetFileError, match=says):
        targets.load_target(path)


def test_routes_take_the_settings_of_every_board() -> None:
    """A route looks at its table when it is made: an unknown key or a wrong type is E639."""
    for board in targets.boards().values():
        for name in board.routes:
            find_route(name)(board, Access())
    odd = replace(targets.board("raspberry-pi-pico"), settings={"uf2": {"family": 1, "famly": 1}})
    with pytest.raises(EdgekitError, match="famly") as error:
        find_route("uf2")(odd, Access())
    assert error.value.code == "E639"


REAL = (FOLDER / "boards" / "nucleo-l4r5zi.toml").read_text()


@given(st.data())
def test_a_damaged_file_is_an_error_that_names_it(data: st.DataObject) -> None:
    """Any stretch of a real file replaced by anything: a board, or a TargetFileError."""
    begin = data.draw(st.integers(0, len(REAL)))
    end = data.draw(st.integers(begin, min(len(REAL), begin + 40)))
    text = REAL[:begin] + data.draw(st.text(max_size=8)) + REAL[end:]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nucleo-l4r5zi.toml"
        path.write_text(text, encoding="utf-8", newline="")
        try:
            board = targets.load_board(path, targets.targets())
        except targets.TargetFileError as error:
            assert str(error).startswith("nucleo-l4r5zi.toml")
        else:
            assert board.name == "nucleo-l4r5zi"
