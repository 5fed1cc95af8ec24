"""The route over SSH against OpenSSH's own server: whole, rotten, cut, and refused."""

from __future__ import annotations

import getpass
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from devices.peers.cut import cut_after
from devices.peers.linux import gone, running
from devices.peers.sshd import Sshd, sshd_path, start_sshd
from hypothesis import given
from hypothesis import strategies as st
from pace import every
from tools import need

from edgekit.devices import flash as flashing
from edgekit.devices import protocol
from edgekit.devices.clients.ssh import Destination
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.flash import flash
from edgekit.devices.routes import Access, remote, ssh
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, board

Build = Callable[..., Firmware]
DATA = bytes(600)
pytestmark = pytest.mark.apt


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    need_sshd()
    with start_sshd(tmp_path_factory.mktemp("sshd")) as running:
        yield running


def need_sshd() -> None:
    need("ssh", "ssh-keygen")
    if sshd_path() is None:
        need("sshd")


@pytest.fixture
def there(tmp_path: Path) -> Board:
    """A board with a folder of its own, for programs of this machine."""
    name = board("linux-local").target.name
    found = board({"linux-x86_64": "linux-x86_64"}.get(name, "raspberry-pi-4"))
    settings = {"ssh": {"folder": str(tmp_path / "it's there")}}
    return replace(found, settings=settings)


@pytest.fixture
def way(server: Sshd, monkeypatch: pytest.MonkeyPatch) -> Access:
    monkeypatch.setenv("EDGEKIT_SSH_COMMAND", server.command)
    return Access(route="ssh", port=server.destination)


def stored(on: Board) -> Path:
    return Path(str(on.settings["ssh"]["folder"])) / on.name


def test_flash_run_profile(there: Board, way: Access, build: Build) -> None:
    with (
        pytest.raises(EdgekitError, match="nothing has been flashed") as caught,
        connect(there, access=way) as session,
    ):
        session.hello()
    assert caught.value.code == "E606"
    firmware = build(there)
    report = flash(there, firmware.elf, access=way)
    assert report.bytes == report.verified == firmware.elf.stat().st_size
    assert stored(there).read_bytes() == firmware.elf.read_bytes()
    assert [p.name for p in stored(there).parent.iterdir()] == [there.name]
    with connect(there, access=way) as session:
        assert session.hello().build_id == firmware.build_id
        assert session.run([DATA])[0] == bytes([255 + 4 & 255]) * 600
        assert session.profile([DATA]).total > 0
        assert running(stored(there))
    assert gone(stored(there))


def test_a_computing_program_dies_with_the_connection(
    there: Board, way: Access, server: Sshd, build: Build
) -> None:
    flash(there, build(there, defines={"FAKE_LOOPS": "4000000000u"}).elf, access=way)
    with cut_after(("127.0.0.1", server.port), []) as proxy:
        user = getpass.getuser()
        session = connect(there, access=Access(route="ssh", port=f"{user}@127.0.0.1:{proxy.port}"))
        with session:
            session.hello()
            session.link.write(protocol.encode(protocol.RUN, 77, b""))
            time.sleep(0.1)
            assert running(stored(there))
    assert gone(stored(there))


def test_a_rotten_byte_keeps_the_old_program(
    there: Board, way: Access, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = build(there), build(there, defines={"FAKE_LOOPS": "4u"})
    flash(there, old.elf, access=way)
    with (
        start_sshd(tmp_path / "rotten", rotten_byte=4321) as rotten,
        monkeypatch.context() as patch,
    ):
        patch.setenv("EDGEKIT_SSH_COMMAND", rotten.command)
        with pytest.raises(EdgekitError, match="failed at 0x000010e1") as caught:
            flash(there, new.elf, access=replace(way, port=rotten.destination))
    assert caught.value.code == "E605"
    assert stored(there).read_bytes() == old.elf.read_bytes()
    flash(there, new.elf, access=way)
    assert stored(there).read_bytes() == new.elf.read_bytes()


@pytest.mark.parametrize(
    "cuts", every(2, [[20], [1500], [10**9, 6000], [10**9, 10**9, 1900], [10**9] * 3 + [1900]])
)
def test_a_cut_connection_is_made_anew(
    there: Board, way: Access, server: Sshd, build: Build, cuts: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(flashing, "PAUSE", 0)
    firmware = build(there)
    with cut_after(("127.0.0.1", server.port), cuts) as proxy:
        access = replace(way, port=f"{getpass.getuser()}@127.0.0.1:{proxy.port}")
        if len(cuts) == 1:  # nothing was begun: told at once
            with pytest.raises(EdgekitError, match="is not connected any more") as caught:
                flash(there, firmware.elf, access=access)
            assert caught.value.code == "E604"
        report = flash(there, firmware.elf, access=access)
    assert report.verified == firmware.elf.stat().st_size
    assert stored(there).read_bytes() == firmware.elf.read_bytes()
    assert proxy.broken == 1


def test_a_connection_that_keeps_breaking_is_told(
    there: Board, way: Access, server: Sshd, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flashing, "PAUSE", 0)
    old, new = build(there), build(there, defines={"FAKE_LOOPS": "4u"})
    flash(there, old.elf, access=way)
    with cut_after(("127.0.0.1", server.port), [10**9, 6000] * 3) as proxy:
        access = replace(way, port=f"{getpass.getuser()}@127.0.0.1:{proxy.port}")
        with pytest.raises(EdgekitError, match="broke 3 times") as caught:
            flash(there, new.elf, access=access)
    assert caught.value.code == "E604"
    assert stored(there).read_bytes() == old.elf.read_bytes()


def test_keys_are_explained(
    there: Board, way: Access, server: Sshd, build: Build, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    elf = build(there).elf
    unknown, other = tmp_path / "unknown", tmp_path / "other"
    unknown.write_text("")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    other_key = tmp_path / "changed"
    other_key.write_text("board " + other.with_suffix(".pub").read_text())
    for options, says, code in (
        (f"-o UserKnownHostsFile={unknown}", "not accepted yet", "E652"),
        (f"-o UserKnownHostsFile={other_key}", "another host key than", "E652"),
        (f"-i {other} -o IdentityFile={other}", "does not let you in", "E653"),
    ):
        command = server.command
        if "IdentityFile" in options:
            config = tmp_path / "client"
            text = (server.folder / "client").read_text()
            config.write_text(text.replace(f"{server.folder}/user\n", f"{other}\n"))
            command, options = f"ssh -F {config}", ""
        monkeypatch.setenv("EDGEKIT_SSH_COMMAND", f"{command} {options}")
        with pytest.raises(EdgekitError, match=says) as caught:
            flash(there, elf, access=way)
        assert caught.value.code == code, caught.value


def test_what_cannot_be_reached_or_written(
    there: Board, way: Access, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elf = build(there).elf

    def fails(on: Board, access: Access, says: str, code: str) -> None:
        with pytest.raises(EdgekitError, match=says) as caught:
            flash(on, elf, access=access)
        assert caught.value.code == code, caught.value

    user = getpass.getuser()
    fails(there, replace(way, port=f"{user}@127.0.0.1:1"), "cannot be reached", "E654")
    fails(there, replace(way, port="no-such-host.invalid"), "cannot be reached", "E654")
    fails(there, replace(way, port=None), "which machine is it", "E651")
    fails(there, replace(way, port="-oProxyCommand=touch"), "is no address", "E651")
    (tmp_path / "file").write_text("")
    wrong = {"ssh": {"folder": f"{tmp_path}/file/x"}}
    fails(replace(there, settings=wrong), way, "not let you write", "E655")
    if Path("/dev/full").exists():
        full = tmp_path / "full"
        full.mkdir()
        (full / f"{there.name}.part").symlink_to("/dev/full")
        fails(replace(there, settings={"ssh": {"folder": str(full)}}), way, "no room", "E655")
    monkeypatch.setenv("EDGEKIT_SSH_COMMAND", "no-such-ssh")
    fails(there, way, "needs the command 'no-such-ssh'", "E636")


def test_a_program_that_cannot_run_there(
    there: Board, way: Access, server: Sshd, build: Build, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    other = "raspberry-pi-4" if there.target.name == "linux-x86_64" else "linux-x86_64"
    on = replace(board(other), settings=there.settings)
    with pytest.raises(EdgekitError, match=f"runs programs of {on.target.name}") as caught:
        flash(on, build(on).elf, access=way)
    assert caught.value.code == "E656"
    flash(there, build(there).elf, access=way)
    stored(there).chmod(0o644)
    with (
        pytest.raises(EdgekitError, match="cannot run the program") as caught,
        connect(there, access=way) as session,
    ):
        session.hello()
    assert caught.value.code == "E656"


def test_noise_of_login_shells_is_not_ours(
    there: Board, way: Access, build: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    force = 'echo "Welcome to the board, edgekit-rea"; eval "$SSH_ORIGINAL_COMMAND"'
    firmware = build(there)
    with start_sshd(tmp_path / "noisy", force=force) as noisy:
        monkeypatch.setenv("EDGEKIT_SSH_COMMAND", noisy.command)
        access = replace(way, port=noisy.destination)
        flash(there, firmware.elf, access=access)
        with connect(there, access=access) as session:
            assert session.hello().build_id == firmware.build_id


NAMES = st.from_regex(r"[a-z0-9._][a-z0-9._-]{0,20}", fullmatch=True)


@given(host=NAMES, user=st.none() | NAMES, port=st.none() | st.integers(1, 65535))
def test_addresses(host: str, user: str | None, port: int | None) -> None:
    text = (f"{user}@" if user else "") + host + (f":{port}" if port else "")
    assert Destination.parse(text) == Destination(host, user, port)


@given(st.text(max_size=30))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = Destination.parse(text)
    except EdgekitError as error:
        assert error.code == "E651"
    else:
        assert not str(found).startswith("-") and not any(c.isspace() for c in str(found))


def test_ipv6() -> None:
    assert Destination.parse("pi@[fe80::1%eth0]:22") == Destination("fe80::1%eth0", "pi", 22)
    for wrong in ("fe80::1", "a@b@c", "host:0", "host:65536", "-x@host", "@host", "host:", ""):
        with pytest.raises(EdgekitError, match="is no address"):
            Destination.parse(wrong)


def test_scripts_suit_every_login_shell() -> None:
    """It passes them to sh in quotes; csh ends a quoted text with its line."""
    scripts = (remote.CONNECT, ssh.UPLOAD, remote.DOWNLOAD, remote.KEEP, remote.STREAM)
    assert not any("\n" in script or "!" in script for script in scripts)
