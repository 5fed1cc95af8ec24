"""The route over adb: Debian's own command against a phone's end of its protocol."""

from __future__ import annotations

import json
import platform
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from devices.peers.adbd import COMMANDS, Adbd, AdbServer, phone_board, start_adb
from devices.peers.linux import gone, running
from models import DIGITS
from tools import need

from edgekit import pipeline
from edgekit.cli import main
from edgekit.devices import protocol
from edgekit.devices.clients import adb as client
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, board

Build = Callable[..., Firmware]
DATA = bytes(600)
_PHONE = """\
name = "my-phone"
description = "A phone with this machine's CPU"
target = "linux-this-machine"
routes = ["adb"]
counters = ["clock"]
tested = "By these tests."

[linux]
ram_mib = 64

[settings.adb]
folder = "{folder}"
"""
pytestmark = pytest.mark.apt


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AdbServer]:
    need(*COMMANDS)
    with start_adb(tmp_path_factory.mktemp("adb")) as running:
        yield running


@pytest.fixture
def phone(server: AdbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Adbd]:
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", server.command)
    monkeypatch.delenv("ANDROID_SERIAL", raising=False)
    with server.phone(tmp_path / "phone") as found:
        yield found


@pytest.fixture
def there(tmp_path: Path) -> Board:
    return phone_board(tmp_path / "it's there")


def stored(on: Board) -> Path:
    return Path(str(on.settings["adb"]["folder"])) / on.name


def fails(on: Board, elf: Path, says: str, code: str, port: str | None = None) -> EdgekitError:
    with pytest.raises(EdgekitError, match=says) as caught:
        flash(on, elf, access=Access(port=port))
    assert caught.value.code == code, caught.value
    return caught.value


def test_flash_run_profile(there: Board, phone: Adbd, build: Build) -> None:
    """The only phone needs no name."""
    with (
        pytest.raises(EdgekitError, match="nothing has been flashed") as caught,
        connect(there) as session,
    ):
        session.hello()
    assert caught.value.code == "E606"
    firmware = build(there)
    data = bytes(range(256)) * 2 + bytes(88)  # every value goes both ways
    with connect(board("linux-local"), elf=firmware.elf) as session:
        want = session.run([data])
    report = flash(there, firmware.elf)
    assert report.bytes == report.verified == firmware.elf.stat().st_size
    assert stored(there).read_bytes() == firmware.elf.read_bytes()
    assert [p.name for p in stored(there).parent.iterdir()] == [there.name]
    with connect(there) as session:
        assert session.hello().build_id == firmware.build_id
        assert session.run([data]) == want
        assert session.profile([DATA]).total > 0
        assert running(stored(there))
    assert gone(stored(there))


@pytest.mark.parametrize("name", ["android-arm64", "android-arm64-dotprod"])
def test_the_boards_themselves(
    server: AdbServer, build: Build, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their own programs, in qemu-aarch64; an older CPU is told before the old one is replaced."""
    need("qemu-aarch64", "gcc")
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", server.command)
    on = replace(board(name), settings={"adb": {"folder": str(tmp_path / "programs")}})
    firmware, here = build(on), build(board("linux-local"))
    with server.phone(tmp_path / "phone", arm64=True) as phone:
        flash(on, firmware.elf)
        with connect(board("linux-local"), elf=here.elf) as a, connect(on) as b:
            assert b.hello().build_id == firmware.build_id
            assert a.run([DATA]) == b.run([DATA])
        if on.target.name == "cortex-a76":
            phone.environment["QEMU_CPU"] = "cortex-a53"
            error = fails(on, firmware.elf, "cannot run programs of cortex-a76", "E656")
            assert "the CPU lacks asimddp" in str(error)
            assert stored(on).exists()


def test_as_a_user(
    phone: Adbd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEKIT_BOARDS", str(tmp_path))
    (tmp_path / "my-phone.toml").write_text(_PHONE.format(folder=tmp_path / "programs"))
    out, own = str(tmp_path / "out"), board("linux-local").target.name
    pipeline.compile(DIGITS.path, output=out, target=own, calibration=DIGITS.calibration)
    way = ["--board", "my-phone", "--port", phone.serial]
    assert main(["flash", out, *way]) == 0
    assert "read back and equal; it runs digits" in capsys.readouterr().out
    assert main(["validate", out, *way]) == 0
    assert "0 different" in capsys.readouterr().out
    assert main(["profile", out, *way, "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["total"] > 1000


@pytest.mark.parametrize("variant", ["push", "read", "run"])
def test_a_phone_that_goes_away(there: Board, phone: Adbd, build: Build, variant: str) -> None:
    """The same command mends it, also over a network: the phone is connected again.

    Where it goes while it is read back, adb ends with 0.
    """
    old, new = build(there), build(there, defines={"FAKE_LOOPS": "4000000000u"})
    flash(there, old.elf)
    if variant != "run":
        setattr(phone, {"push": "cut_after", "read": "cut_output_after"}[variant], 6000)
        error = fails(there, new.elf, "broke 3 times", "E604", phone.serial)
        assert "is not connected any more" in str(error) and phone.pushes == 4
        assert stored(there).read_bytes() == old.elf.read_bytes()
        phone.mend()
    flash(there, new.elf, access=Access(port=phone.serial))
    assert stored(there).read_bytes() == new.elf.read_bytes()
    if variant == "run":
        with connect(there) as session:
            session.hello()
            session.link.write(protocol.encode(protocol.RUN, 77, b""))
            threading.Timer(0.1, phone.drop).start()
            with pytest.raises(EdgekitError, match="is not connected any more") as caught:
                session.outputs()
        assert caught.value.code == "E604"
        assert gone(stored(there))
        fails(there, old.elf, "is in state 'offline'", "E684")
        flash(there, old.elf, access=Access(port=phone.serial))
        with connect(there) as session:
            assert session.hello().build_id == old.build_id


def test_which_phone(
    there: Board, phone: Adbd, server: AdbServer, build: Build, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    elf = build(there).elf
    with server.phone(tmp_path / "other") as other:
        error = fails(there, elf, "2 phones are connected", "E682")
        assert all(f"{p.serial} (device)" in str(error) for p in (phone, other))
        flash(there, elf, access=Access(port=other.serial))
        assert (phone.pushes, other.pushes) == (0, 1)
        monkeypatch.setenv("ANDROID_SERIAL", phone.serial)
        flash(there, elf)
        assert (phone.pushes, other.pushes) == (1, 1)
        monkeypatch.delenv("ANDROID_SERIAL")
        error = fails(there, elf, "finds no phone 'R58N'", "E681", "R58N")
        assert f"{other.serial} (device)" in str(error)


def test_no_phone(there: Board, phone: Adbd, server: AdbServer, build: Build) -> None:
    """One that listens at HOST:PORT is found; what does not is not."""
    elf = build(there).elf
    server.say("disconnect", phone.serial)
    assert "USB debugging" in str(fails(there, elf, "finds no phone for", "E681"))
    error = fails(there, elf, "finds no phone '127.0.0.1:1'", "E681", "127.0.0.1:1")
    assert "refused" in str(error)
    flash(there, elf, access=Access(port=phone.serial))
    assert stored(there).read_bytes() == elf.read_bytes()


def test_what_a_phone_refuses(
    there: Board, server: AdbServer, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", server.command)
    elf = build(there).elf
    with server.phone(tmp_path / "wary", trusts=False):
        assert "dialog" in str(fails(there, elf, "does not trust this computer yet", "E683"))
    with server.phone(tmp_path / "old", features="cmd"):
        assert "Android 7.0" in str(fails(there, elf, "no shell that carries bytes", "E687"))
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", "no-such-adb")
    assert "apt install adb" in str(fails(there, elf, "needs the command 'no-such-adb'", "E680"))
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", "false")
    fails(there, elf, "'adb devices' ended with status 1", "E688")


@pytest.mark.parametrize(
    ("state", "says", "code"),
    [
        ("no permissions (user in plugdev group; are your udev rules wrong?); see [http://x]",
         "may not be opened by this user", "E683"),
        ("authorizing", "does not trust", "E683"),
        ("recovery", "is in state 'recovery'", "E684"),
    ],
)  # fmt: skip
def test_states_of_usb(
    there: Board, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    state: str, says: str, code: str,
) -> None:  # fmt: skip
    """As adb 29 words them; no double reaches them over TCP."""
    listing = tmp_path / "adb"
    listing.write_text(
        f"#!/bin/sh\nprintf 'List of devices attached\\nR58N\\t%s\\n\\n' '{state}'\n"
    )
    listing.chmod(0o755)
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", str(listing))
    fails(there, build(there).elf, says, code, "R58N")


def test_an_adb_that_hangs(
    there: Board, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs = tmp_path / "adb"
    hangs.write_text("#!/bin/sh\nexec sleep 20\n")
    hangs.chmod(0o755)
    monkeypatch.setattr(client, "_SECONDS", 0.2)
    monkeypatch.setenv("EDGEKIT_ADB_COMMAND", str(hangs))
    error = fails(there, build(there).elf, "does not end within 0.2 s", "E688")
    assert "adb kill-server" in str(error)


def test_what_cannot_be_written_or_run(
    there: Board, phone: Adbd, build: Build, tmp_path: Path
) -> None:
    elf = build(there).elf
    (tmp_path / "file").write_text("")
    wrong = replace(there, settings={"adb": {"folder": f"{tmp_path}/file/x"}})
    fails(wrong, elf, "does not let you write", "E685")
    if Path("/dev/full").exists():
        full = tmp_path / "full"
        full.mkdir()
        (full / f"{there.name}.part").symlink_to("/dev/full")
        on = replace(there, settings={"adb": {"folder": str(full)}})
        fails(on, elf, "has no room for the program", "E685")
    other = board("linux-x86_64" if there.target.architecture != "x86_64" else "android-arm64")
    on = replace(other, routes=("adb",), settings=there.settings)
    error = fails(on, build(on).elf, f"runs programs of {on.target.name}", "E686")
    assert f"is Linux on {platform.machine()}" in str(error)
    flash(there, elf)
    stored(there).chmod(0o644)
    with (
        pytest.raises(EdgekitError, match="cannot run the program") as caught,
        connect(there) as session,
    ):
        session.hello()
    assert caught.value.code == "E686"


def test_a_rotten_byte_keeps_the_old_program(there: Board, phone: Adbd, build: Build) -> None:
    old, new = build(there), build(there, defines={"FAKE_LOOPS": "4u"})
    flash(there, old.elf)
    phone.rotten_byte = 4321
    fails(there, new.elf, "failed at 0x000010e1", "E605")
    assert stored(there).read_bytes() == old.elf.read_bytes()
    phone.mend()
    flash(there, new.elf)
    assert stored(there).read_bytes() == new.elf.read_bytes()
