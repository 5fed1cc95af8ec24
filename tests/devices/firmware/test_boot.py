"""What ROMs want in front of a program: structure, checksums, and a second stage that runs."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from tools import need

import targets
from edgekit.devices import protocol
from edgekit.devices.firmware.boot import flexspi_block, stage2_crc
from edgekit.devices.firmware.image import FlashImage, load_elf, load_symbols
from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import cache_dir
from targets import Board, Region

from ..chip_double import ChipDouble
from ..conftest import Build
from ..test_boards import hello, status_of

RP2040JS = "rp2040js@1.4.1"
SSI, STAGE2 = 0x1800_0000, 0x2004_1F00


def flash_of(board: Board, elf: Path) -> bytes:
    """The flash content from its start to the image's end."""
    image: FlashImage = load_elf(elf)
    end = max(address + len(data) for address, data in image.segments)
    content = bytearray(b"\xff" * (end - board.flash.start))
    for address, data in image.segments:
        at = address - board.flash.start
        content[at : at + len(data)] = data
    return bytes(content)


def mirrored(value: int, bits: int) -> int:
    return int(f"{value:0{bits}b}"[::-1], 2)


def crc32_mpeg2(data: bytes) -> int:
    """The same polynomial by zlib, which mirrors bits and inverts the end."""
    return mirrored(zlib.crc32(bytes(mirrored(b, 8) for b in data)) ^ 0xFFFF_FFFF, 32)


def test_the_checksum_is_the_roms() -> None:
    assert stage2_crc(b"123456789") == 0x0376_E6E7  # CRC-32/MPEG-2's check value
    assert stage2_crc(bytes(range(252))) == crc32_mpeg2(bytes(range(252)))


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_the_picos_second_stage(build: Build, compiler: str) -> None:
    if compiler == "gcc":
        need("arm-none-eabi-gcc")
    board = targets.board("raspberry-pi-pico")
    elf = build(board, compiler=compiler).elf
    content = flash_of(board, elf)
    assert struct.unpack_from("<I", content, 252) == (crc32_mpeg2(content[:252]),)
    stack, start = struct.unpack_from("<2I", content, 256)
    assert board.ram.holds(stack - 4) and start & 1 and board.flash.holds(start)
    assert load_symbols(elf)["__vectors_start"] == board.flash.start + 256


def test_the_second_stage_sets_serial_flash_up_and_starts_the_program(build: Build) -> None:
    """The ROM's copy runs in SRAM, writes SSI in the manual's order and jumps to the program."""
    board = targets.board("raspberry-pi-pico")
    chip = ChipDouble(board, build(board).elf, peripherals=(SSI,))
    chip.machine.write(STAGE2, chip.machine.read(board.flash.start, 252))
    chip.pc = STAGE2
    assert chip.run()
    ssi = [(a - SSI, v) for a, v in chip.registers.written if a & -0x1000 == SSI]
    assert (ssi[0], ssi[-1]) == ((0x08, 0), (0x08, 1))  # off while it is changed
    values = dict(ssi)
    assert values[0x14] % 2 == 0 and 125e6 / values[0x14] <= 33e6  # what command 03h allows
    assert values[0x00] >> 16 & 31 == 31 and values[0x00] >> 8 & 3 == 3
    assert values[0xF4] >> 24 == 0x03 and values[0xF4] >> 2 & 15 == 6 and values[0xF4] & 3 == 0
    assert (0xE000_ED08, board.flash.start + 256) in chip.registers.written
    assert status_of(hello(chip)) == 0


def rp2040js() -> Path:
    """A folder with node_modules/rp2040js, installed once; skipped without npm or network."""
    need("node", "npm")
    folder = cache_dir() / RP2040JS.replace("@", "-")
    if not (folder / "node_modules" / "rp2040js").is_dir():
        command = ["npm", "install", "--silent", "--prefix", str(folder), RP2040JS]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        if done.returncode and os.environ.get("CI") != "true":
            pytest.skip(f"npm cannot install {RP2040JS}")
        assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.apt
def test_the_picos_firmware_in_rp2040js(build: Build, tmp_path: Path) -> None:
    """Second stage, bring-up and driver on an RP2040 that other hands have made."""
    folder, board = rp2040js(), targets.board("raspberry-pi-pico")
    firmware = build(board)
    (tmp_path / "flash.bin").write_bytes(flash_of(board, firmware.elf))
    request = protocol.encode(protocol.HELLO, 7, b"\1").hex()
    script = Path(__file__).parents[1] / "peers" / "rp2040js.cjs"
    command = ["node", str(script), str(folder), str(tmp_path / "flash.bin"), request, "400000"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    (frame,) = protocol.Decoder().feed(bytes.fromhex(found["received"]))
    assert (frame.type, frame.seq, status_of(frame)) == (b"h", 7, 0)
    assert firmware.build_id.to_bytes(8, "little") in frame.payload
    assert abs(found["baud"] / board.uart.baud - 1) < 0.01
    assert found["vtor"] == board.flash.start + 256


def test_the_pico_2s_block(build: Build) -> None:
    """RP2350 Datasheet, 5.9.1: header, items that end where the next begins, LAST with their
    length, a link to itself, footer; in the first 4 KB, word-aligned."""
    board = targets.board("raspberry-pi-pico2")
    content = flash_of(board, build(board).elf)
    at = content.index(struct.pack("<I", 0xFFFF_DED3))
    assert at % 4 == 0 and at + 20 <= 4096
    words = struct.unpack_from("<16I", content, at)
    items, size, position = {}, 0, 1
    while words[position] & 0xFF != 0xFF:
        kind, length = words[position] & 0xFF, words[position] >> 8 & 0xFF
        items[kind] = words[position] >> 16
        position, size = position + length, size + length
    assert words[position] >> 8 & 0xFFFF == size  # LAST
    assert words[position + 1 : position + 3] == (0, 0xAB12_3579)
    image_type = items[0x42]  # executable (bits 3-0: 1), secure (5-4: 2), Arm (10-8: 0), RP2350
    assert (image_type & 15, image_type >> 4 & 3, image_type >> 8 & 7) == (1, 2, 0)
    assert image_type >> 12 & 7 == 1
    stack, start = struct.unpack_from("<2I", content)  # no VECTOR_TABLE item: the image's start
    assert board.ram.holds(stack - 4) and start & 1 and board.flash.holds(start)


@pytest.mark.parametrize("name", ["mimxrt1060-evk", "teensy-4.1"])
def test_the_imxrts_tables(build: Build, name: str) -> None:
    """i.MX RT1060 Reference Manual, 9.6.3 and 9.7.1."""
    board = targets.board(name)
    content = flash_of(board, build(board).elf)
    assert content[:4] == b"FCFB" and content[4:8] == bytes([0, 4, 1]) + b"V"
    assert struct.unpack_from("<I", content, 0x50) == (board.flash.size,)
    header, entry, _, dcd, data, here, csf, _ = struct.unpack_from("<8I", content, 0x1000)
    assert (header & 0xFF, header >> 8 & 0xFFFF, header >> 24) == (0xD1, 0x2000, 0x41)
    assert here == board.flash.start + 0x1000 and dcd == csf == 0
    assert entry == board.flash.start + 0x2000
    start, size, plugin = struct.unpack_from("<3I", content, data - board.flash.start)
    assert (start, size, plugin) == (board.flash.start, board.flash.size, 0)
    stack, reset = struct.unpack_from("<2I", content, 0x2000)
    assert board.ram.holds(stack - 4) and reset & 1 and board.flash.holds(reset)
    assert size >= len(content)


def test_the_lookup_table_reads_on_four_lines() -> None:
    """Each instruction: opcode in bits 15-10, lines in 9-8, operand in 7-0 (27.5.7)."""
    words = struct.unpack_from("<4H", flexspi_block(1 << 23), 0x80)
    assert [(w >> 10, w >> 8 & 3, w & 255) for w in words] == [
        (0x01, 0, 0xEB),  # CMD_SDR: fast read quad I/O
        (0x02, 2, 24),  # RADDR_SDR
        (0x0C, 2, 6),  # DUMMY_SDR
        (0x09, 2, 4),  # READ_SDR
    ]


@pytest.mark.parametrize("compiler", ["zig", "gcc"])
def test_the_esp32c3_starts_behind_its_magic(build: Build, compiler: str) -> None:
    if compiler == "gcc":
        need("riscv64-unknown-elf-gcc")
    board = targets.board("esp32-c3-devkitm")
    elf = build(board, compiler=compiler).elf
    content, symbols = flash_of(board, elf), load_symbols(elf)
    assert content[:8] == bytes.fromhex("1d04dbae") * 2
    assert symbols["Reset_Handler"] == board.flash.start + 8
    assert symbols["ek_trap_entry"] % 256 == 0
    window = range(board.flash.data_start, board.flash.data_start + board.flash.size)
    assert symbols["__data_load"] in window and symbols["ek_bundle_start"] in window


def test_constants_are_read_in_their_window(build: Build, tmp_path: Path) -> None:
    """A bundle's bytes in flash are where its address in the data window says."""
    board = targets.board("esp32-c3-devkitm")
    blob = tmp_path / "model.ekb"
    blob.write_bytes(b"EKBUNDLE" + bytes(range(256)))
    elf = build(board, defines={"FAKE_BUNDLE": ""}, blob=blob).elf
    at = load_symbols(elf)["ek_bundle_start"] - board.flash.data_start
    assert flash_of(board, elf)[at : at + 264] == blob.read_bytes()
    chip = ChipDouble(board, elf)
    chip.start(board.flash.start + 8)
    assert chip.run()
    assert b"EKBUNDLE" in hello(chip).payload


def test_a_boot_image_needs_its_address(build: Build) -> None:
    board = targets.board("raspberry-pi-pico")
    moved = replace(board, regions=(Region("FLASH", "flash", 0x800_0000, 1 << 20), board.ram))
    with pytest.raises(EdgekitError, match="needs its first flash region at 0x10000000") as error:
        build(moved)
    assert error.value.code == "E512"


def test_flash_never_holds_elf_headers(build: Build) -> None:
    """Nothing in front of the first section: there may be a boot loader."""
    for name in ("apollo4-plus-evb", "arduino-nano33-ble", "esp32-c3-devkitm"):
        board = targets.board(name)
        image = load_elf(build(board).elf)
        assert image.segments[0][0] == board.flash.start
        assert not any(data.startswith(b"\x7fELF") for _, data in image.segments)


def test_nxps_own_tool_reads_the_imxrts_tables(build: Build, tmp_path: Path) -> None:
    """PyPI's spsdk, 240 MB, which nothing else here needs: where it is installed."""
    if shutil.which("nxpimage") is None:
        pytest.skip("nxpimage of the package spsdk is not installed")
    board = targets.board("mimxrt1060-evk")
    (tmp_path / "flash.bin").write_bytes(flash_of(board, build(board).elf))
    parse = ["nxpimage", "bootable-image", "parse", "-f", "mimxrt1060", "-b", "flash.bin"]
    subprocess.run([*parse, "-o", "out"], cwd=tmp_path, check=True, capture_output=True)
    found = yaml.safe_load((tmp_path / "out" / "segment_fcb.yaml").read_text())["fcb_settings"]
    values = {k: int(v, 0) for k, v in found.items() if isinstance(v, str) and v.startswith("0x")}
    assert values["tag"] == 0x4246_4346 and values["sflashA1Size"] == board.flash.size
    assert (values["deviceType"], values["sflashPadType"], values["serialClkFreq"]) == (1, 4, 6)
    sequence = [found[f"lookupTable_seq0_instr{i}"] for i in range(4)]
    assert [step["OPERATION_CODE"] for step in sequence] == [
        "CMD_SDR", "RADDR_SDR", "DUMMY_SDR", "READ_SDR",
    ]  # fmt: skip
    assert [step["NUM_PADS"] for step in sequence] == ["1PAD", "4PAD", "4PAD", "4PAD"]
    hab = yaml.safe_load((tmp_path / "out" / "hab" / "hab.yaml").read_text())["options"]
    assert int(hab["startAddress"], 0) == board.flash.start and hab["ivtOffset"] == 0x1000
    assert int(hab["entryPointAddress"], 0) == board.flash.start + 0x2000
