"""The route `smp`: what MCUboot gets, uploads that go on, servers that check less or refuse."""

from __future__ import annotations

import contextlib
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from devices.peers import image, write_elf
from devices.peers.smp_server import (
    HEADER,
    SIZE,
    START,
    Board_,
    Faults,
    parse_image,
    serve_serial,
    serve_udp,
    start,
)
from hypothesis import given
from hypothesis import strategies as st

from edgekit.devices import flash as flashing
from edgekit.devices.clients import mcuboot
from edgekit.devices.clients.smp import udp_address
from edgekit.devices.firmware.build import Firmware
from edgekit.devices.firmware.image import FlashImage
from edgekit.devices.flash import FlashReport, flash
from edgekit.devices.routes import open_route
from edgekit.devices.routes.virtual import VirtualLink
from edgekit.devices.session import connect
from edgekit.errors import EdgekitError
from targets import Board, Region, board

Build = Callable[..., Firmware]
SLOT = mcuboot.Slot(SIZE, version="1.2.3+4")
PAYLOAD = bytes(range(256)) * 9


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashing, "PAUSE", 0)


@pytest.fixture
def peer() -> Iterator[Board_]:
    with start(serve_udp) as found:
        yield found


def put(peer: Board_, folder: Path, size: int = 2345, **settings: str | int) -> FlashReport:
    """Flash drawn segments, with other settings of the board's file."""
    on = replace(peer.board, settings={"smp": {"slot_size": SIZE, **settings}})
    elf = write_elf(folder / f"{size}.elf", image(START, size))
    return flash(on, elf, access=peer.access)


def runs(peer: Board_, size: int = 2345) -> bool:
    """Whether what `put` has flashed is what MCUboot starts."""
    program = peer.device.program()
    return program is not None and all(
        program[a - START : a - START + len(d)] == d for a, d in image(START, size)
    )


def test_the_image_replaces_the_old_one_for_good(peer: Board_, tmp_path: Path) -> None:
    put(peer, tmp_path, 500)
    report = put(peer, tmp_path, version="7.8.9+10")
    assert report.verified == report.bytes == 2345 + 257
    assert runs(peer) and peer.device.resets == 2
    assert peer.device.images()[0]["version"] == "7.8.9.10"
    peer.device.reset()
    assert runs(peer)
    put(peer, tmp_path)  # again, with another version: no error
    put(peer, tmp_path)  # and the very same
    assert runs(peer)


def test_an_image_to_be_confirmed_falls_back(peer: Board_, tmp_path: Path) -> None:
    put(peer, tmp_path, 500)
    put(peer, tmp_path, mode="test")
    assert runs(peer)
    peer.device.reset()
    assert runs(peer, 500)


def test_an_upload_goes_on_where_it_broke_off(peer: Board_, tmp_path: Path) -> None:
    peer.device.faults.deaf_after = 5000
    with pytest.raises(EdgekitError, match="broke 3 times") as caught:
        put(peer, tmp_path)
    assert caught.value.code == "E604" and peer.device.program() is None
    arrived = peer.device.received
    peer.mend()
    put(peer, tmp_path)
    whole = len(mcuboot.wrap(mcuboot.payload_of(FlashImage(tuple(image(START))), START), SLOT))
    assert runs(peer) and arrived >= 5000 and peer.device.received == whole


@pytest.mark.parametrize("serve", [serve_udp, serve_serial])
def test_lost_and_damaged_answers_are_asked_for_again(serve: object, tmp_path: Path) -> None:
    with start(serve) as peer:  # type: ignore[arg-type]
        peer.device.faults = Faults(lost={0, 3, 6, 9}, noisy={2, 5, 11})
        put(peer, tmp_path)
        assert runs(peer)


def test_a_server_without_a_check_of_its_own(tmp_path: Path) -> None:
    """Nothing was verified then, and it says so; MCUboot does not start what is damaged."""
    with start(serve_udp, checks=False) as peer:
        report = put(peer, tmp_path, 500)
        assert report.verified == 0 and runs(peer, 500)
        peer.device.faults.worn = HEADER + 99
        put(peer, tmp_path)
        assert runs(peer, 500)
        peer.device.faults.worn = 0  # the header: no image at all
        with pytest.raises(EdgekitError, match="no slot has the image") as caught:
            put(peer, tmp_path)
        assert caught.value.code == "E605"


def test_serial_recovery_writes_the_only_slot(tmp_path: Path) -> None:
    with start(serve_serial, recovery=True) as peer:
        report = put(peer, tmp_path)
        assert report.verified == 0 and runs(peer) and peer.device.resets == 1


def test_refusals_have_code_name_and_group(peer: Board_, tmp_path: Path) -> None:
    with pytest.raises(EdgekitError, match="rc 30 INVALID_IMAGE_TOO_LARGE of group 1") as caught:
        too_large(peer, tmp_path)
    assert caught.value.code == "E657"


def too_large(peer: Board_, folder: Path) -> None:
    on = replace(
        peer.board,
        regions=(replace(peer.board.flash, size=4 * SIZE), peer.board.ram),
        settings={"smp": {"slot_size": 4 * SIZE}},
    )
    elf = write_elf(folder / "large.elf", image(START, SIZE))
    flash(on, elf, access=peer.access)


@pytest.mark.parametrize(
    ("settings", "says", "code"),
    [
        ({"slot_size": 4096}, "for a slot of 4096 B", "E658"),
        ({"version": "new"}, "imgtool makes no image", "E658"),
        ({"key": "/no/such/key.pem"}, "imgtool makes no image", "E658"),
        ({"mode": "maybe"}, "must be one of: confirm, test", "E639"),
        ({"slot": 1}, "unknown key 'slot'", "E639"),
    ],
)
def test_wrong_settings(
    peer: Board_, tmp_path: Path, settings: dict[str, str | int], says: str, code: str
) -> None:
    with pytest.raises(EdgekitError, match=says) as caught:
        put(peer, tmp_path, **settings)
    assert caught.value.code == code
    assert peer.device.received == 0


def test_signed_images(peer: Board_, tmp_path: Path) -> None:
    from imgtool.keys import ECDSA256P1

    key = tmp_path / "key.pem"
    ECDSA256P1.generate().export_private(str(key))
    put(peer, tmp_path, key=str(key))
    assert runs(peer)
    assert len(mcuboot.wrap(PAYLOAD, replace(SLOT, key=str(key)))) > len(
        mcuboot.wrap(PAYLOAD, SLOT)
    )


def test_nobody_answers(peer: Board_, tmp_path: Path) -> None:
    peer.device.faults.deaf_after = 0
    with pytest.raises(EdgekitError, match="no SMP server answers on udp://") as caught:
        put(peer, tmp_path)
    assert caught.value.code == "E654"
    access = replace(peer.access, port="/dev/no-such-port")
    with pytest.raises(EdgekitError, match=r"'/dev/no-such-port' .* cannot be opened"):
        open_route(peer.board, access).connect()


def test_missing_packages(peer: Board_, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("smpclient", "edgekit.devices.clients.smp"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "smpclient", None)
    with pytest.raises(EdgekitError, match="needs the package 'smpclient'") as caught:
        open_route(peer.board, peer.access).connect()
    assert caught.value.code == "E636" and "pip install 'edgekit[smp]'" in str(caught.value)
    monkeypatch.setitem(sys.modules, "imgtool.main", None)
    with pytest.raises(EdgekitError, match="needs the package 'imgtool'") as caught:
        mcuboot.wrap(PAYLOAD, SLOT)


def test_two_readers_of_images_agree() -> None:
    whole = mcuboot.wrap(PAYLOAD, SLOT)
    found = parse_image(whole)
    assert found is not None
    assert found[:2] == ("1.2.3.4", mcuboot.image_hash(whole))
    assert found[2][HEADER:] == PAYLOAD


WHOLE = mcuboot.wrap(PAYLOAD, SLOT)


@given(data=st.data())
def test_any_damage_is_a_hash_or_an_error(data: st.DataObject) -> None:
    broken = bytearray(WHOLE[: data.draw(st.integers(0, len(WHOLE)))])
    for at in data.draw(st.lists(st.sampled_from(range(40)) | st.integers(0, len(WHOLE)))):
        if at < len(broken):
            broken[at] = data.draw(st.integers(0, 255))
    try:
        assert len(mcuboot.image_hash(bytes(broken))) <= len(broken)
    except EdgekitError as error:
        assert error.code == "E658"


@given(st.text(max_size=20).map(lambda text: "udp:" + text))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    try:
        found = udp_address(text)
    except EdgekitError as error:
        assert error.code == "E651"
    else:
        assert found is not None and found[0] and 1 <= found[1] <= 65535


def test_addresses() -> None:
    assert udp_address("udp://10.0.0.7") == ("10.0.0.7", 1337)
    assert udp_address("udp://board.local:4444/") == ("board.local", 4444)
    assert udp_address("udp://[fe80::1%eth0]:1") == ("fe80::1%eth0", 1)
    assert udp_address("/dev/ttyACM0") is None


@contextlib.contextmanager
def uart_on_tcp(on: Board, program: bytes) -> Iterator[str]:
    """A program running on a virtual board; its UART is a URL of pyserial."""
    link = VirtualLink(on, FlashImage(((on.flash.start, program),)))
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            host, _ = listener.accept()
            with host:
                host.settimeout(0.01)
                while True:
                    with contextlib.suppress(TimeoutError):
                        if not (data := host.recv(4096)):
                            return
                        link.write(data)
                    host.sendall(link.read(0.01))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"socket://127.0.0.1:{listener.getsockname()[1]}"
    listener.close()
    thread.join(5)


def test_a_real_program_is_uploaded_started_and_answers(peer: Board_, build: Build) -> None:
    like = board("virtual-cortex-m4")
    flash_region = Region("FLASH", "flash", START, SIZE - HEADER)
    on = replace(like, regions=(flash_region, like.ram), routes=("smp",))
    firmware = build(on)
    report = flash(on, firmware.elf, access=peer.access)
    program = peer.device.program()
    assert program is not None and report.checked.startswith("equal by the SHA-256")
    running = replace(on, routes=("virtual",))
    with uart_on_tcp(running, program) as port:
        access = replace(peer.access, serial=port)
        with connect(on, access=access) as session:
            assert session.hello().build_id == firmware.build_id
            assert session.run([bytes(600)])[1] == b"\1"
