"""UARTs as their reference manuals describe them, register by register, for drivers to talk to.

A double keeps the host's bytes until the driver takes them and collects what the driver sends. It
does nothing before it is enabled in the order that the manual asks for, and `baud` is worked out
from the registers that were written.
"""

from __future__ import annotations

from collections.abc import Callable

IDLE_POLLS = 8


class UartDouble:
    """What all have in common; `clock` is the UART's in Hz, `stop` is called when it waits."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        self.clock, self.stop = clock, stop
        self.received, self.sent = bytearray(), bytearray()
        self.registers: dict[int, int] = {}
        self.polls = 0

    def waiting(self) -> bool:
        """Whether a byte is there; looking often in vain ends the run."""
        if not self.received:
            self.polls += 1
            if self.polls >= IDLE_POLLS:
                self.stop()
        return bool(self.received)

    def pop(self) -> int:
        self.polls = 0
        return self.received.pop(0) if self.received else 0

    def push(self, value: int) -> None:
        self.polls = 0
        self.sent.append(value & 0xFF)

    def read(self, offset: int) -> int:
        return self.registers.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        self.registers[offset] = value

    def overrun(self) -> None:
        """A byte came while another one was unread, long before the driver looks."""

    def baud(self) -> float:
        raise NotImplementedError


class Stm32V1(UartDouble):
    """RM0090 30.6: SR 0x00, DR 0x04, BRR 0x08 (12.4 fixed point), CR1 0x0C."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.ore = self.sr_was_read = False

    def on(self, bit: int) -> bool:
        cr1 = self.registers.get(0x0C, 0)
        return bool(cr1 >> 13 & 1 and cr1 >> bit & 1)

    def read(self, offset: int) -> int:
        if offset == 0x00:
            self.sr_was_read = True
            ready = self.on(2) and (self.waiting() or self.ore)
            return 0xC0 | ready << 5 | self.ore << 3  # TXE, TC, RXNE, ORE
        if offset == 0x04:
            self.ore = self.ore and not self.sr_was_read
            return self.pop() if self.on(2) else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x04 and self.on(3):
            self.push(value)
        super().write(offset, value)

    def overrun(self) -> None:
        self.ore, self.sr_was_read = True, False

    def baud(self) -> float:
        return self.clock / self.registers[0x08]


class Stm32V2(UartDouble):
    """RM0351 40.8: CR1 0x00, BRR 0x0C (written only while UE is 0), ISR, ICR, RDR, TDR."""

    UNIT, LEAST, MOST = 1, 16, 0xFFFF

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.ore = False

    def on(self, bit: int) -> bool:
        cr1 = self.registers.get(0x00, 0)
        return bool(cr1 & 1 and cr1 >> bit & 1)

    def read(self, offset: int) -> int:
        if offset == 0x1C:
            ready = self.on(2) and not self.ore and self.waiting()
            return self.on(3) * 0xC0 | ready << 5 | self.ore << 3
        if offset == 0x24:
            return self.pop() if self.on(2) else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x0C and self.on(0):
            return
        if offset == 0x20 and value & 8:
            self.ore = False
        if offset == 0x28 and self.on(3):
            self.push(value)
        super().write(offset, value)

    def overrun(self) -> None:
        self.ore = True

    def baud(self) -> float:
        divider = self.registers[0x0C]
        assert self.LEAST <= divider <= self.MOST
        return self.UNIT * self.clock / divider


class Stm32Lp(Stm32V2):
    """RM0351 41.7: as the USART, with BRR in 256ths and at least 0x300."""

    UNIT, LEAST, MOST = 256, 0x300, 0xFFFFF


class Pl011(UartDouble):
    """DDI 0183 3.3: DR, FR, IBRD and FBRD (taken over by a write to LCR_H), CR."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.taken = (0, 0)

    def on(self, bit: int) -> bool:
        cr = self.registers.get(0x30, 0x300)
        return bool(cr & 1 and cr >> bit & 1)

    def read(self, offset: int) -> int:
        if offset == 0x18:
            empty = not (self.on(9) and self.waiting())
            return 0x80 | empty << 4  # TXFE, RXFE
        if offset == 0x00:
            return self.pop() if self.on(9) else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset == 0x2C:
            assert value >> 5 & 3 == 3, "8 bits"
            self.taken = (self.registers.get(0x24, 0), self.registers.get(0x28, 0))
        if offset == 0x00 and self.on(8):
            self.push(value)

    def baud(self) -> float:
        whole, part = self.taken
        assert 1 <= whole <= 0xFFFF and part <= 63
        return self.clock / (16 * (whole + part / 64))


class Lpuart(UartDouble):
    """IMXRT1060RM 49.3: BAUD 0x10 (while TE and RE are 0), STAT 0x14, CTRL 0x18, DATA 0x1C."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.overran = False
        self.registers[0x10] = 0x0F00_0004

    def on(self, bit: int) -> bool:
        return bool(self.registers.get(0x18, 0) >> bit & 1)

    def read(self, offset: int) -> int:
        if offset == 0x14:
            ready = self.on(18) and not self.overran and self.waiting()
            return 0x00C0_0000 | ready << 21 | self.overran << 19
        if offset == 0x1C:
            return self.pop() if self.on(18) else 0
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x10 and (self.on(18) or self.on(19)):
            return
        if offset == 0x14 and value & 1 << 19:
            self.overran = False
        if offset == 0x1C and self.on(19):
            self.push(value)
        super().write(offset, value)

    def overrun(self) -> None:
        self.overran = True

    def baud(self) -> float:
        register = self.registers[0x10]
        return self.clock / (((register >> 24 & 31) + 1) * (register & 0x1FFF))


class NrfUart(UartDouble):
    """nRF52840 PS v1.7, UART: tasks, events, PSEL, BAUDRATE; ENABLE is 4."""

    ENABLED = 4

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.receives = self.sends = False
        self.pins = (0xFFFF_FFFF, 0xFFFF_FFFF)
        self.was_offered = False

    def enabled(self) -> bool:
        return self.registers.get(0x500) == self.ENABLED

    def read(self, offset: int) -> int:
        if offset == 0x108:  # RXDRDY: one more byte has come to RXD
            if self.receives and not self.was_offered and self.waiting():
                self.registers[0x108], self.was_offered = 1, True
            return self.registers.get(0x108, 0)
        if offset == 0x518:
            self.was_offered = False
            return self.pop()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if offset in (0x000, 0x008) and value and self.enabled():
            self.receives, self.sends = self.receives or offset == 0, self.sends or offset == 8
        if offset == 0x51C and self.sends:
            self.push(value)
            self.registers[0x11C] = 1

    def baud(self) -> float:
        return self.registers[0x524] * 16e6 / 2**32


class NrfUarte(UartDouble):
    """nRF5340 PS v1.3, UARTE: EasyDMA through `memory` (read and write of RAM); ENABLE is 8."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.load: Callable[[int, int], bytes] = lambda address, size: b""
        self.store: Callable[[int, bytes], None] = lambda address, data: None
        self.in_ram: Callable[[int], bool] = lambda address: False
        self.receiving = False

    def read(self, offset: int) -> int:
        if offset == 0x110 and self.receiving and self.waiting():
            address, count = self.registers[0x534], self.registers[0x538]
            assert self.in_ram(address) and count == 1, "EasyDMA reaches RAM alone"
            self.store(address, bytes([self.pop()]))
            self.registers[0x110], self.receiving = 1, False
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        super().write(offset, value)
        if self.registers.get(0x500) != 8 or not value:
            return
        if offset == 0x000:
            self.receiving = True
        if offset == 0x008:
            address, count = self.registers[0x544], self.registers[0x548]
            assert self.in_ram(address), "EasyDMA reaches RAM alone"
            for byte in self.load(address, count):
                self.push(byte)
            self.registers[0x120] = 1

    def baud(self) -> float:
        return self.registers[0x524] * 16e6 / 2**32


class Apollo(Pl011):
    """Apollo4 Plus: a PL011 that needs CR's CLKEN (bit 3) and CLKSEL (bits 6 to 4; 1: 24 MHz)."""

    def on(self, bit: int) -> bool:
        return super().on(bit) and self.registers.get(0x30, 0) >> 3 & 15 == 0b0011

    def write(self, offset: int, value: int) -> None:
        if offset != 0x30:
            assert self.registers.get(0x30, 0) >> 3 & 15 == 0b0011, "no clock"
        super().write(offset, value)


class Esp32(UartDouble):
    """ESP32-C3 TRM 26.5: FIFO, CLKDIV (taken over by ID's bit 31), STATUS with both FIFOs' fill."""

    def __init__(self, clock: int, stop: Callable[[], None]) -> None:
        super().__init__(clock, stop)
        self.taken = 0
        self.log = 37  # bytes of the ROM's log that are still to go out, one for each look

    def read(self, offset: int) -> int:
        if offset == 0x1C:
            self.log = max(0, self.log - 1)
            return self.log << 16 | (min(len(self.received), 128) if self.waiting() else 0)
        if offset == 0x00:
            return self.pop()
        return super().read(offset)

    def write(self, offset: int, value: int) -> None:
        if offset == 0x80 and value >> 31:
            self.taken, value = self.registers.get(0x14, 0), value & 0x7FFF_FFFF
        if offset == 0x00:
            self.push(value)
        super().write(offset, value)

    def baud(self) -> float:
        assert self.log == 0, "the ROM's log was cut"
        return self.clock / ((self.taken & 0xFFF) + (self.taken >> 20 & 15) / 16)


DOUBLES: dict[str, type[UartDouble]] = {
    "stm32v1": Stm32V1,
    "stm32v2": Stm32V2,
    "stm32lp": Stm32Lp,
    "pl011": Pl011,
    "apollo": Apollo,
    "lpuart": Lpuart,
    "esp32": Esp32,
    "nrf51": NrfUart,
    "nrf_uarte": NrfUarte,
}
