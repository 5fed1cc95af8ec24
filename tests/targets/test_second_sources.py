"""Board files against what others have written down about the same chips.

`test_what_was_checked` prints which board was held against what; `tested` in a file says the same.
"""

from __future__ import annotations

import re

import pytest
from devices.chip_double import Registers, take

import targets
from targets import Board

from .second_sources import memories, modm, package, svd, svd_of

BOARDS = [b for b in targets.boards().values() if b.setup and not b.emulated]
IDS = [b.name for b in BOARDS]
STM32 = [b for b in BOARDS if b.chip.startswith("STM32")]
#: modm's names of cores, and whether our target of the core expects an FPU.
CORES = {"cortex-m0plus": False, "cortex-m3": False, "cortex-m4": True, "cortex-m33": True}
#: The bus of the STM32H7's flash runs at half the clock of the core.
BUS = {"STM32H7": 2}


def brought_up(board: Board) -> Registers:
    registers = Registers(board.chip)
    assert take(registers, board.setup) == []
    return registers


@pytest.mark.parametrize("board", BOARDS, ids=IDS)
def test_files_are_whole(board: Board) -> None:
    """Every step says which register it means and why, and what the ROM wants is there."""
    for step in (*board.setup, *board.cold):
        assert re.fullmatch(r"[A-Z0-9_]+\.[A-Z0-9_]+: \S.*", step.comment), step
    assert "never run on hardware by us" in board.tested.lower()
    for source in sources(board):
        assert source in board.tested
    assert board.setup
    assert board.name == board.name.lower()


@pytest.mark.parametrize("board", [b for b in BOARDS if memories(b.chip)], ids=lambda b: b.name)
def test_memories_and_core_are_those_of_modm_devices(board: Board) -> None:
    core = modm(board.chip).get("core") or next(iter(modm(board.chip).values()))
    if core.get("type") in CORES:
        assert board.target.name == core["type"]
        assert ("fpu" in core) == CORES[core["type"]]
    known = memories(board.chip)
    external = {"rp2040": 0x1000_0000, "rp2350": 0x1000_0000}.get(board.boot)
    for region in board.regions:
        if region.start == external:
            continue
        holding = [m for m in known if m[1] <= region.start and region.end <= m[2]]
        if not holding and (board.boot == "rp2350" or board.chip.startswith("STM32L4R5")):
            # modm-devices, like pyOCD, has the RP2040's 264 KB for the RP2350; of the L4R5's SRAM2
            # it has one address of two (RM0432, 2.2.1: 0x10000000, and 0x20030000 in between).
            assert region.kind == "ram"
            continue
        assert holding, f"{region.name} {region.start:#x}..{region.end:#x} is in none of {known}"
        if region is board.flash and "f_" not in board.name and region.start == holding[0][1]:
            assert region.end == holding[0][2], "the whole flash"


@pytest.mark.parametrize("board", STM32, ids=lambda b: b.name)
def test_wait_states_are_enough(board: Board) -> None:
    """The file's, and those that its steps write to FLASH.ACR, for its clock."""
    latencies, bus = modm(board.chip)["flash"].get("latency"), BUS.get(board.chip[:7], 1)
    if latencies is None:  # STM32F1: RM0008, 3.3.3
        needed = 0 if board.clock_hz <= 24_000_000 else 1 if board.clock_hz <= 48_000_000 else 2
    else:
        rows = {int(entry["vcore-min"]): entry["wait-state"] for entry in latencies}
        hclk = board.clock_hz // bus
        needed = min(int(s["ws"]) for s in rows[max(rows)] if hclk <= int(s["hclk-max"]))
    assert bus * needed <= board.flash_wait_states <= bus * (needed + 1)
    registers = brought_up(board)
    acr = next(s.address for s in board.setup if s.register == "FLASH.ACR")
    assert bus * (registers.read(acr) & 0xF) == board.flash_wait_states


def gpio_of(chip: str, port: str) -> int:
    """Base address of an STM32's GPIO port."""
    bases = {"STM32L4": 0x4800_0000, "STM32G0": 0x5000_0000, "STM32H7": 0x5802_0000,
             "STM32U5": 0x4202_0000}  # fmt: skip
    return bases.get(chip[:7], 0x4002_0000) + 0x400 * (ord(port) - ord("a"))


def uart_number(board: Board) -> tuple[str, str]:
    """(driver, instance) of a UART in modm's names, from its base address."""
    low = {0x4000_4400: ("usart", "2"), 0x4000_4800: ("usart", "3"), 0x4001_3800: ("usart", "1"),
           0x4000_8000: ("lpuart", "1")}  # fmt: skip
    return low[board.uart.base]


@pytest.mark.parametrize(
    "board", [b for b in STM32 if not b.chip.startswith("STM32F1")], ids=lambda b: b.name
)
def test_pins_reach_the_uart(board: Board) -> None:
    """After the steps one pin has the alternate function TX, and one RX, of the board's UART."""
    registers, found = brought_up(board), set()
    for pin in modm(board.chip)["gpio"]["gpio"]:
        base, number = gpio_of(board.chip, pin["port"]), int(pin["pin"])
        mode = registers.read(base) >> 2 * number & 3
        written = any(address == base for address, _ in registers.written)
        if not written or mode != 2:
            continue
        function = registers.read(base + 0x20 + 4 * (number // 8)) >> 4 * (number % 8) & 15
        for signal in pin.get("signal", ()):
            where = (signal["driver"], signal.get("instance", ""))
            if where == uart_number(board) and signal.get("af") == str(function):
                found.add(signal["name"])
    assert {"tx", "rx"} <= found


def apb1_of(board: Board, registers: Registers) -> tuple[int, int]:
    """(core clock, clock of the UART) of an STM32 after its steps, from its clock registers."""
    chip = board.chip[:7]
    if chip in ("STM32F2", "STM32F4", "STM32F7"):  # RM0090 7.3
        pll, cfgr = registers.read(0x4002_3804), registers.read(0x4002_3808)
        assert pll >> 22 & 1 == 0 and cfgr & 3 == 2
        core = 16_000_000 // (pll & 63) * (pll >> 6 & 511) // (2 * (pll >> 16 & 3) + 2)
        return core, core // (2 << (cfgr >> 10 & 3) if cfgr >> 12 & 1 else 1)
    if chip == "STM32F1":  # RM0008 7.3.2
        cfgr = registers.read(0x4002_1004)
        assert cfgr & 3 == 2 and cfgr >> 16 & 1 == 0
        core = 4_000_000 * ((cfgr >> 18 & 15) + 2)
        return core, core // (2 << (cfgr >> 8 & 3) if cfgr >> 10 & 1 else 1)
    if chip == "STM32L4":  # RM0351 6.4.3 and 6.4.4
        pll = registers.read(0x4002_100C)
        assert pll & 3 == 2 and registers.read(0x4002_1008) & 0x37F3 == 3
        core = 16_000_000 // ((pll >> 4 & 7) + 1) * (pll >> 8 & 127) // (2 * (pll >> 25 & 3) + 2)
        return core, core
    if chip == "STM32G0":  # RM0444 5.4.4
        pll = registers.read(0x4002_100C)
        assert pll & 3 == 2 and registers.read(0x4002_1008) & 0x7F07 == 2
        core = 16_000_000 // ((pll >> 4 & 7) + 1) * (pll >> 8 & 127) // ((pll >> 29) + 1)
        return core, core
    if chip == "STM32U5":  # RM0456 11.8
        cfgr, pll = registers.read(0x4602_0C28), registers.read(0x4602_0C34)
        assert cfgr & 3 == 2 and registers.read(0x4602_0C1C) & 3 == 3
        assert registers.read(0x4602_0C20) & 0x7F == 0
        core = 16_000_000 // ((cfgr >> 8 & 15) + 1) * ((pll & 511) + 1) // ((pll >> 24) + 1)
        return core, core
    assert chip == "STM32H7"  # RM0433 8.7
    select, pll = registers.read(0x5802_4428), registers.read(0x5802_4430)
    assert select & 3 == 0 and registers.read(0x5802_4410) & 7 == 3
    vco = 64_000_000 // (select >> 4 & 63) * ((pll & 511) + 1)
    assert 192_000_000 <= vco <= 836_000_000
    core = vco // ((pll >> 9 & 127) + 1)
    assert registers.read(0x5802_4418) & 0xF0F == 8  # AHB is half of the core's
    assert registers.read(0x5802_441C) & 0x70 == 0x40  # and APB1 half of that
    return core, core // 4


@pytest.mark.parametrize("board", STM32, ids=lambda b: b.name)
def test_clocks_are_what_the_steps_yield(board: Board) -> None:
    core, uart = apb1_of(board, brought_up(board))
    assert core == board.clock_hz
    assert uart == (board.uart.clock_hz or board.clock_hz)


def test_clocks_of_the_imxrts() -> None:
    """IMXRT1060RM 14.7 and 13.8: PLL1 is 24 MHz x DIV_SELECT / 2, then ARM_PODF and AHB_PODF."""
    for name in ("mimxrt1060-evk", "teensy-4.1"):
        board = targets.board(name)
        registers = brought_up(board)
        pll, cbcdr = registers.read(0x400D_8000), registers.read(0x400F_C014)
        assert pll >> 12 & 0x13 == 2 and registers.read(0x400F_C018) >> 18 & 3 == 3
        assert cbcdr >> 25 & 1 == 0 and cbcdr >> 10 & 7 == 0
        core = 12_000_000 * (pll & 127) // ((registers.read(0x400F_C010) & 7) + 1)
        assert core == board.clock_hz
        assert core // ((cbcdr >> 8 & 3) + 1) <= 150_000_000  # IPG
        assert registers.read(0x400F_C024) & 0x7F == 0x40  # UART: 24 MHz / 1
        if core > 528_000_000:  # IMXRT1060CEC, table 10: at least 1.25 V
            assert 800 + 25 * (registers.read(0x4008_000C) & 31) >= 1250


def test_clocks_of_the_picos() -> None:
    """12 MHz crystal, PLL: RP2040 Datasheet 2.18.2; RP2350's is the same."""
    for name, pll in (("raspberry-pi-pico", 0x4002_8000), ("raspberry-pi-pico2", 0x4005_0000)):
        board = targets.board(name)
        registers = brought_up(board)
        vco = 12_000_000 // (registers.read(pll) & 63) * registers.read(pll + 8)
        assert 750_000_000 <= vco <= 1_600_000_000
        prim = registers.read(pll + 12)
        assert vco // (prim >> 16 & 7) // (prim >> 12 & 7) == board.clock_hz


@pytest.mark.parametrize("board", [b for b in BOARDS if svd_of(b.chip)], ids=lambda b: b.name)
def test_registers_have_these_addresses(board: Board) -> None:
    """Each step's register has the step's address in a register description of the chip or its
    family; where the family's chip lacks the register, its address must be unnamed there."""
    names = svd(str(svd_of(board.chip)))
    agree = 0
    for step in (*board.setup, *board.cold):
        known = {re.sub(r"_(S|NS)\.", ".", n) for n in names.get(step.address, set())}
        known |= {n.replace("0_", "").replace("_S.", ".") for n in known}
        assert not known or step.register in known, f"{step} is {known}"
        agree += bool(known)
    assert agree >= len(board.setup) // 2
    uart = {n.split(".")[0] for n in names.get(board.uart.base, set())}
    assert any("UART" in n or "USART" in n for n in uart), f"UART at {board.uart.base:#x}: {uart}"


def pyocd_map(board: Board) -> list[tuple[str, int, int]]:
    """(type, start, end) of the memories of pyOCD's builtin target, neighbours joined."""
    name = board.settings.get("pyocd", {}).get("target", "")
    target = package("pyocd.target").TARGET.get(name)
    found: list[tuple[str, int, int]] = []
    for region in getattr(target, "MEMORY_MAP", None) or ():
        kind = region.type.name.lower()
        if found and found[-1][0] == kind and found[-1][2] == region.start:
            found[-1] = (kind, found[-1][1], region.start + region.length)
        else:
            found.append((kind, region.start, region.start + region.length))
    return found


@pytest.mark.parametrize("board", [b for b in BOARDS if pyocd_map(b)], ids=lambda b: b.name)
def test_memories_are_those_of_pyocd(board: Board) -> None:
    known = pyocd_map(board)
    for region in (board.flash, board.ram):
        holding = [m for m in known if m[0] == region.kind and m[1] <= region.start < m[2]]
        assert holding, f"{region.name} at {region.start:#x} is in none of {known}"
        if board.boot != "rp2350":  # pyOCD has the RP2040's RAM for it
            assert region.end <= holding[0][2]


def test_the_esp32s3_is_esptools() -> None:
    rom = package("esptool.targets.esp32s3").ESP32S3ROM
    board = targets.board("esp32-s3-devkitc")
    assert board.flash.start == rom.IROM_MAP_START and board.flash.end <= rom.IROM_MAP_END
    assert board.flash.data_start == rom.DROM_MAP_START
    dram = next(m for m in rom.MEMORY_MAP if m[2] == "DRAM")
    assert dram[0] <= board.ram.start and board.ram.end <= dram[1]
    assert board.packages_only == "esp-idf"


def test_the_esp32c3_is_esptools() -> None:
    rom = package("esptool.targets.esp32c3").ESP32C3ROM
    board = targets.board("esp32-c3-devkitm")
    assert board.flash.start == rom.IROM_MAP_START and board.flash.end <= rom.IROM_MAP_END
    assert board.flash.data_start == rom.DROM_MAP_START
    dram = next(m for m in rom.MEMORY_MAP if m[2] == "DRAM")
    assert dram[0] <= board.ram.start and board.ram.end <= dram[1]
    steps = [(s.address, s.value) for s in board.setup]
    assert (rom.RTC_CNTL_WDTWPROTECT_REG, rom.RTC_CNTL_WDT_WKEY) in steps
    assert (rom.RTC_CNTL_WDTCONFIG0_REG, 0) in steps
    assert (rom.RTC_CNTL_SWD_WPROTECT_REG, rom.RTC_CNTL_SWD_WKEY) in steps
    assert (rom.RTC_CNTL_SWD_CONF_REG, rom.RTC_CNTL_SWD_AUTO_FEED_EN) in steps
    assert board.uart.base + 0x14 == rom.UART_CLKDIV_REG


def sources(board: Board) -> list[str]:
    found = []
    if memories(board.chip):
        found.append("modm-devices")
    if pyocd_map(board):
        found.append("pyOCD's memory map")
    if svd_of(board.chip):
        found.append(str(svd_of(board.chip)))
    return found + ["esptool"] * ("esptool" in board.routes)


def test_what_was_checked(capsys: pytest.CaptureFixture[str]) -> None:
    """At least 20 boards against at least one source each."""
    with capsys.disabled():
        print()
        for board in BOARDS:
            print(f"  {board.name}: {', '.join(sources(board)) or 'by hand only'}")
    assert sum(bool(sources(b)) for b in BOARDS) >= 20


def test_trigger_pins_have_registers_that_set_and_clear() -> None:
    """Where a register description has the chip: the names say so. Steps make the pin an output."""
    named = 0
    for board in BOARDS:
        pin = board.trigger
        if pin is None:
            continue
        assert any("the trigger" in s.comment for s in board.setup), board.name
        clears = {16: "BSRR", 0: "OUTCLR BRR"}[pin.clear_shift]
        names = svd(str(svd_of(board.chip))) if svd_of(board.chip) else {}
        for address, words in ((pin.set, "OUTSET BSRR"), (pin.clear, clears)):
            known = {n.split(".")[1] for n in names.get(address, set())}
            assert not known or known & set(words.split()), (board.name, known)
            named += bool(known)
    assert named >= 20
