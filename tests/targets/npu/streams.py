"""Random command streams that may run: every command, every field, no races.

`valid(config, seed)` is the way in. A stream reads no word of the accelerator's memories that it
has not written before, so that its regions end the same whatever the memories held.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from targets.npu.config import BLOCK, TABLE_WORDS, Accelerator
from targets.npu.footprint import Span, blocks_of, external, footprint, group_lanes, output_span
from targets.npu.isa import (
    TRANSFERS,
    Add,
    Command,
    Error,
    Load,
    Opcode,
    Space,
    Store,
    Window,
    stream,
)

#: Small configurations: every number of lanes that changes how a command works.
TINY = Accelerator("tiny", 2, 1, 256, 64, 32)
SINGLE = Accelerator("single", 1, 1, 128, 128, 16, tables=False)
FOUR = Accelerator("four", 4, 2, 256, 64, 64)
EIGHT = Accelerator("eight", 8, 4, 256, 64, 64)
SIXTEEN = Accelerator("sixteen", 16, 4, 256, 32, 128)
WIDE = Accelerator("wide", 32, 8, 128, 16, 128)
CONFIGURATIONS = (TINY, SINGLE, FOUR, EIGHT, SIXTEEN, WIDE)


@dataclass(frozen=True)
class Case:
    """A stream and the external memory that it runs on.

    Attributes:
        words: HEAD to END.
        regions: what each region holds before; at most eight.
        writable: the regions that STORE may change.
        error: why it has to be refused; NONE where it may run.
        command: the index of the command that is refused.
        hardware: whether the hardware raises the error too.
        cycles: a rough upper bound of what a stream that may run takes.
        name: what is wrong with it.
    """

    config: Accelerator
    words: list[int]
    regions: list[bytes]
    writable: tuple[int, ...]
    error: Error = Error.NONE
    command: int = 0
    hardware: bool = True
    cycles: int = 0
    name: str = ""


def valid(config: Accelerator, seed: int, *, cycles: int = 2000) -> Case:
    """A stream that may run, in about so many cycles."""
    draft = Draft(config, random.Random(f"{config.name} {seed}"), cycles)
    draft.fill()
    return draft.case()


def chance(rng: random.Random, probability: float) -> bool:
    return rng.random() < probability


def end_or_between(rng: random.Random, most: int) -> int:
    """0, `most`, or a number between them."""
    return rng.choice((0, most, rng.randint(0, most)))


def some_bytes(rng: random.Random, count: int) -> bytes:
    """Bytes of one of several kinds: any, extremes, near zero."""
    kind = rng.random()
    if kind < 0.6:
        return rng.randbytes(count)
    if kind < 0.8:
        return bytes(rng.choices((0x80, 0x7F, 0x81, 0x00), k=count))
    return bytes(rng.choices((0xFE, 0xFF, 0, 1, 2), k=count))


def some_parameters(rng: random.Random, products: int) -> bytes:
    """A channel's bias, multiplier and shifts, mostly apt for sums of so many products."""
    kind = rng.random()
    if kind < 0.7:
        spread = max(1, int(products**0.5 * 5400))
        bias, multiplier = rng.randint(-spread, spread), rng.randrange(1 << 30, 1 << 31)
        left, right = 0, max(0, (spread // 64).bit_length() - rng.randint(0, 2))
        if chance(rng, 0.3):
            left = rng.randint(0, 6)
            right = min(31, right + left)
    elif kind < 0.8:
        bias, multiplier, left, right = 0, 1 << 30, 1, 0
    else:
        bias = rng.choice((0, 1, -1, 2**31 - 1, -(2**31), rng.randrange(-(2**31), 2**31)))
        multiplier = rng.choice((0, 1, 1 << 30, 2**31 - 1, 2**31 - 1, rng.randrange(1 << 31)))
        left, right = (rng.choice((0, 0, 1, 30, 31, rng.randrange(32))) for _ in range(2))
    words = (bias & 0xFFFFFFFF, multiplier, left | right << 8)
    return b"".join(w.to_bytes(4, "little") for w in words)


class Draft:
    """A stream in the making: commands in an order that would do without any `after`."""

    def __init__(self, config: Accelerator, rng: random.Random, cycles: int) -> None:
        self.config, self.rng, self.left = config, rng, cycles
        self.budget = cycles
        #: Commands of the transfer engine and of the compute engine, and what they touch.
        self.engines: tuple[list[Command], list[Command]] = ([], [])
        self.spans: tuple[list[list[Span]], list[list[Span]]] = ([], [])
        self.waits: tuple[list[int], list[int]] = ([], [])
        self.a = np.zeros((config.a_words, BLOCK), bool)
        self.w = np.zeros((config.w_words, 2), bool)  # bytes 0-3 and 4-7 of the lanes
        self.p = np.zeros(config.p_channels, bool)
        self.t = np.zeros(TABLE_WORDS, bool)
        count = rng.randint(2, 8)
        numbers = rng.sample(range(count), rng.randint(2, count))
        inputs = rng.randint(1, len(numbers) - 1)
        self.inputs, self.outputs = numbers[:inputs], numbers[inputs:]
        self.regions = [bytearray(rng.randbytes(rng.randrange(9))) for _ in range(count)]
        self.unstored: list[Window | Add] = []

    # What a stream consists of.

    def fill(self) -> None:
        """Commands until the cycles are used up."""
        if chance(self.rng, 0.4):
            self.preload()
        while self.left > 100:
            kind = self.rng.random()
            if kind < 0.12 and self.config.tables:
                self.add()
            elif kind < 0.22:
                self.copy()
            elif not self.window():
                break
            if chance(self.rng, 0.6):
                self.store_results()
        self.store_results()

    def preload(self) -> None:
        """Much of A, W and P at once, so that compute commands need no LOAD of their own."""
        config, share = self.config, self.left // 6
        self.load_a(0, min(config.a_words, share // 3), BLOCK, 0)
        words = min(config.w_words, 4 * share // config.word_bytes)
        if words:
            self.weights(0, words, whole=chance(self.rng, 0.8))
        self.parameters(0, min(config.p_channels, share // 4), 16)

    def case(self) -> Case:
        commands = self.merged()
        rng = self.rng
        for region in self.regions:
            region += rng.randbytes(rng.randrange(4))
        return Case(
            self.config, stream(commands, self.config), [bytes(r) for r in self.regions],
            tuple(sorted(self.outputs)), cycles=self.budget - self.left,
        )  # fmt: skip

    def merged(self) -> list[Command]:
        """Both engines' commands in one order: any in which none waits for one behind it."""
        done, result = [0, 0], []
        favourite = self.rng.choice((0.2, 0.5, 0.8))
        while any(d < len(e) for d, e in zip(done, self.engines, strict=True)):
            which = int(chance(self.rng, favourite))
            if done[which] == len(self.engines[which]):
                continue
            command = self.engines[which][done[which]]
            if command.after <= done[1 - which]:
                result.append(command)
                done[which] += 1
        return result

    def push(self, command: Load | Store | Window | Add) -> None:
        """Append a command that waits for what it has to wait for."""
        which = 0 if command.opcode in TRANSFERS else 1
        spans = footprint(command, self.config)
        others = self.spans[1 - which]
        needed = 0
        for number in range(len(others) - 1, -1, -1):
            if any((s.writes or o.writes) and s.overlaps(o) for o in others[number] for s in spans):
                needed = number + 1
                break
        after = needed
        if self.waits[which] and self.waits[which][-1] >= needed and chance(self.rng, 0.5):
            after = 0
        if chance(self.rng, 0.1):
            after = self.rng.randint(after, len(others))
        before = self.waits[which][-1] if self.waits[which] else 0
        self.waits[which].append(max(before, after))
        self.engines[which].append(replace(command, after=after))
        self.spans[which].append(spans)
        self.left -= estimate(command, self.config)

    def needed(self, which: int, spans: list[Span]) -> int:
        """How many commands a command of engine `which` has to wait for."""
        others = self.spans[1 - which]
        for number in range(len(others), 0, -1):
            if any(
                (s.writes or o.writes) and s.overlaps(o) for o in others[number - 1] for s in spans
            ):
                return number
        return 0

    # Compute commands.

    def window(self) -> bool:
        """A command of one of the four kinds with its operands; False where none fits."""
        for attempt in range(100):
            command = self.some_window(small=attempt > 10 or self.left < 400)
            placed = command and self.placed(command)
            if placed:
                self.operands(placed)
                self.push(placed)
                self.written(placed)
                return True
        return False

    def some_window(self, small: bool) -> Window | None:
        """A command without places; None where it is too much for the memories or the cycles."""
        rng, config = self.rng, self.config
        rare = 0.0 if small else 0.05
        opcode = rng.choice((Opcode.CONV, Opcode.CONV, Opcode.DEPTHWISE, Opcode.SUM, Opcode.MAX))
        conv = opcode is Opcode.CONV
        taps = rng.choice((1, 1, 2, 4)) if conv else rng.randint(1, 4)
        most = 4 if small else 8
        shape = (rng.randint(1, most), rng.randint(1, most))
        if chance(rng, rare):
            shape = rng.choice(((1, rng.randint(20, 60)), (rng.randint(20, 60), 1)))

        def usually(low: int, high: int, seldom: int) -> int:
            return rng.randint(low, seldom if chance(rng, rare) else high)

        kernel = (usually(1, 3, 8), usually(1, 2, 6))
        stride = (usually(1, 3, 15), usually(1, 3, 15))
        step = (usually(1, 2, 63), taps if chance(rng, 0.5) else usually(1, 4, 63))
        pad = [usually(0, kernel[0], 255), usually(0, kernel[1] * taps, 255)]
        if chance(rng, 0.3):
            pad = [0, 0]
        reach = (1 + (kernel[0] - 1) * step[0], taps + (kernel[1] - 1) * step[1])
        out = [
            max(1, (shape[i] + pad[i] + rng.randint(0, pad[i] and 2) - reach[i]) // stride[i] + 1)
            for i in range(2)
        ]
        if chance(rng, 0.2):
            out = [rng.randint(1, most), rng.randint(1, most)]
        blocks = usually(1, 3, 12) if conv and taps == 1 else 1
        groups = usually(1, 4 if config.out_lanes < 16 else 2, 12)
        low, high = -128, 127
        if chance(rng, 0.3):
            low, high = sorted((rng.randint(-128, 127), rng.randint(-128, 127)))
        command = Window(
            opcode, 0, 0, shape[1], shape[0], out[1], out[0], 0, 0, 1, groups, blocks,
            kernel[0], kernel[1], taps, rng.randint(1, taps), *stride, *step, *pad,
            pad=rng.choice((0, -128, 127, rng.randint(-128, 127))),
            uniform=int(chance(rng, 0.3)), zero_point=rng.choice((0, rng.randint(-128, 127))),
            low=low, high=high,
        )  # fmt: skip
        if chance(rng, 0.02):
            command = replace(command, low=command.high, high=command.low)
        lanes = group_lanes(command, config)
        needed = blocks_of(groups * lanes)
        command = replace(
            command,
            o_blocks=needed + rng.randint(0, 2) if chance(rng, 0.7) else rng.randint(1, needed),
        )
        weights = groups * command.steps if opcode in (Opcode.CONV, Opcode.DEPTHWISE) else 0
        parameters = config.requant_lanes if command.uniform else groups * lanes
        fits = weights <= config.w_words and parameters <= config.p_channels
        return command if fits and 2 * estimate(command, config) < self.left else None

    def placed(self, command: Window) -> Window | None:
        """The command with its places in the memories; None where they are too small for it."""
        rng, config = self.rng, self.config
        image = command.in_h * command.in_w
        pixels = command.out_h * command.out_w
        channels = command.groups * group_lanes(command, config)
        conv = command.opcode is Opcode.CONV
        in_blocks = command.blocks if conv else blocks_of(channels)
        a_plane = rng.choice((image, image, image + rng.randint(0, 5), rng.randint(0, image)))
        out_blocks = min(command.o_blocks, blocks_of(channels))
        o_plane = pixels + (0 if chance(rng, 0.6) else rng.randint(0, 5))
        if out_blocks == 1 and chance(rng, 0.3):
            o_plane = rng.randrange(1 << 20)
        room = (
            config.a_words - image - (in_blocks - 1) * a_plane,
            config.a_words - pixels - (out_blocks - 1) * o_plane * (out_blocks > 1),
        )
        if min(room) < 0:
            return None
        steps = command.groups * command.steps if conv or command.opcode is Opcode.DEPTHWISE else 0
        parameters = config.requant_lanes if command.uniform else channels
        last = (config.p_channels - parameters) // config.requant_lanes
        found = []
        for _ in range(8):
            candidate = replace(
                command,
                a_base=self.some_base(room[0]),
                a_plane=a_plane,
                o_base=end_or_between(rng, room[1]),
                o_plane=o_plane,
                w_base=end_or_between(rng, config.w_words - steps)
                if steps
                else rng.randrange(1 << 16),
                p_base=end_or_between(rng, last),
            )
            whole = Span(Space.A, candidate.a_base, image, in_blocks, a_plane)
            if not whole.overlaps(output_span(candidate, config)):
                found.append(candidate)
        if chance(rng, 0.7):
            # Operands that are there already leave cycles for more commands.
            found.sort(key=self.missing)
        return found[0] if found else None

    def missing(self, c: Window) -> int:
        """Words of the operands that nobody has written."""
        counts = 0
        for span in footprint(c, self.config):
            if span.writes:
                continue
            memory = {Space.A: self.a, Space.W: self.w, Space.P: self.p}[span.space]
            for b in range(span.blocks):
                start = span.start + b * span.plane
                counts += int((~memory[start : start + span.length]).sum())
        return counts

    def some_base(self, room: int) -> int:
        """Where an image begins: often where a result does."""
        results = [
            s.start for spans in self.spans[1][-3:] for s in spans if s.writes and s.start <= room
        ]
        if results and chance(self.rng, 0.5):
            return self.rng.choice(results)
        return end_or_between(self.rng, room)

    def operands(self, c: Window) -> None:
        """Load what the command reads and nobody has written, and now and then more."""
        config = self.config
        channels = c.groups * group_lanes(c, config)
        conv = c.opcode is Opcode.CONV
        self.image(c.a_base, c.in_h * c.in_w, c.blocks if conv else blocks_of(channels), c.a_plane)
        if conv or c.opcode is Opcode.DEPTHWISE:
            self.weights(c.w_base, c.groups * c.steps, whole=conv)
        lanes = config.requant_lanes
        products = c.steps * (BLOCK if conv else c.taps)
        self.parameters(c.p_base * lanes, lanes if c.uniform else channels, products)

    def add(self) -> None:
        """An ADD, and its tables where they are not there yet."""
        rng, config = self.rng, self.config
        if not self.t.all() and self.left < TABLE_WORDS + 200:
            return
        self.tables()
        count = rng.randint(1, min(40, max(self.left, 0) // 20 + 1))
        room = config.a_words - count
        places = [self.some_base(room) for _ in range(2)]
        if chance(rng, 0.2):
            places[1] = places[0]
        out = rng.choice((*places, rng.randint(0, room)))
        if any(p != out and abs(p - out) < count for p in places):
            return
        for place in places:
            self.image(place, count, 1, 0)
        p_base = rng.randrange(config.p_words)
        self.parameters(p_base * config.requant_lanes, config.requant_lanes, 2)
        command = Add(*places, out, count, p_base, rng.randint(-128, 127))
        if chance(rng, 0.3):
            low, high = sorted((rng.randint(-128, 127), rng.randint(-128, 127)))
            command = replace(command, low=low, high=high)
        self.push(command)
        self.written(command)

    def written(self, command: Window | Add) -> None:
        self.unstored.append(command)
        for words, known in self.result(command):
            self.a[words, :known] = True

    def result(self, command: Window | Add) -> Iterator[tuple[slice, int]]:
        """The words that a command writes, with the number of bytes of each."""
        if isinstance(command, Add):
            yield slice(command.o_base, command.o_base + command.count), BLOCK
            return
        channels = command.groups * group_lanes(command, self.config)
        span = output_span(command, self.config)
        for b in range(span.blocks):
            start = span.start + b * span.plane
            yield slice(start, start + span.length), min(BLOCK, channels - b * BLOCK)

    # Transfers.

    def image(self, base: int, count: int, blocks: int, plane: int) -> None:
        known = all(
            self.a[base + b * plane : base + b * plane + count].all() for b in range(blocks)
        )
        if known and chance(self.rng, 0.9):
            return
        if plane < count:
            for b in range(blocks):
                self.load_a(base + b * plane, count, self.rng.randint(1, BLOCK), 0)
            return
        channels = (blocks - 1) * BLOCK + self.rng.randint(1, BLOCK)
        cuts = (
            sorted(self.rng.sample(range(1, count), 1))
            if count > 4 and chance(self.rng, 0.3)
            else []
        )
        for start, end in zip([0, *cuts], [*cuts, count], strict=True):
            self.load_a(base + start, end - start, channels, plane)

    def load_a(self, base: int, count: int, channels: int, plane: int) -> None:
        rng = self.rng
        if channels <= BLOCK and chance(rng, 0.2):
            plane = rng.randrange(1 << 20)
        region, offset = self.source(count * channels, 1)
        fill = rng.choice((0, -128, 127, rng.randint(-128, 127)))
        self.push(Load(offset, region, Space.A, base, count, channels, plane, fill))
        for b in range(blocks_of(channels)):
            self.a[base + b * plane : base + b * plane + count] = True

    def weights(self, base: int, count: int, whole: bool) -> None:
        rng, config = self.rng, self.config
        known = self.w[base : base + count, : 2 if whole else 1].all()
        if known and chance(rng, 0.8):
            return
        half = int(not whole and chance(rng, 0.7))
        cut = rng.randint(1, count) if chance(rng, 0.3) else count
        for start, end in ((0, cut), (cut, count)):
            if start < end:
                size = (end - start) * (config.word_bytes >> half)
                region, offset = self.source(size, 4)
                self.push(Load(offset, region, Space.W, base + start, end - start, half=half))
        self.w[base : base + count, : 1 if half else 2] = True

    def parameters(self, base: int, count: int, products: int) -> None:
        rng = self.rng
        if self.p[base : base + count].all() and chance(rng, 0.7):
            return
        cut = rng.randint(1, count) if chance(rng, 0.3) else count
        for start, end in ((0, cut), (cut, count)):
            if start < end:
                data = b"".join(some_parameters(rng, products) for _ in range(start, end))
                region, offset = self.source(len(data), 4, data)
                self.push(Load(offset, region, Space.P, base + start, end - start))
        self.p[base : base + count] = True

    def tables(self) -> None:
        rng = self.rng
        start, end = 0, TABLE_WORDS
        if self.t.all():
            if chance(rng, 0.5):
                return
            start = rng.randrange(TABLE_WORDS)
            end = rng.randint(start, min(TABLE_WORDS, start + 50)) + 1
            end = min(end, TABLE_WORDS)
        far = chance(rng, 0.5)  # sums that wrap
        reach = 1 << (31 if far else rng.randint(4, 20))
        values = (rng.randrange(-reach, reach) for _ in range(start, end))
        data = b"".join(v.to_bytes(4, "little", signed=True) for v in values)
        region, offset = self.source(len(data), 4, data)
        self.push(Load(offset, region, Space.T, start, end - start))
        self.t[start:end] = True

    def source(self, count: int, align: int, data: bytes | None = None) -> tuple[int, int]:
        """Region and offset of `count` bytes to load."""
        rng = self.rng
        if data is None and align == 1 and chance(rng, 0.2):
            # Also what a STORE may have put there before.
            for number in rng.sample(self.outputs, len(self.outputs)):
                if len(self.regions[number]) >= count:
                    return number, rng.randint(0, len(self.regions[number]) - count)
        number = rng.choice(self.inputs)
        region = self.regions[number]
        if chance(rng, 0.5):
            region += rng.randbytes(rng.randrange(4))
        region += rng.randbytes(-len(region) % align)
        offset = len(region)
        region += some_bytes(rng, count) if data is None else data
        return number, offset

    def store_results(self) -> None:
        """Store what compute commands have left, at least in part."""
        rng = self.rng
        for command in self.unstored:
            runs = list(self.result(command))
            span = footprint(command, self.config)[-1 if isinstance(command, Window) else 2]
            channels = sum(known for _, known in runs)
            if chance(rng, 0.3):
                channels = rng.randint(1, channels)
            first, last = 0, span.length
            if chance(rng, 0.3):
                first = rng.randrange(span.length)
                last = rng.randint(first + 1, span.length)
            self.store(span.start + first, last - first, channels, span.plane)
        self.unstored = []

    def store(self, base: int, count: int, channels: int, plane: int) -> None:
        rng = self.rng
        number = rng.choice(self.outputs)
        region = self.regions[number]
        size = count * channels
        offset = len(region) + (0 if chance(rng, 0.6) else rng.randrange(6))
        if len(region) >= size and chance(rng, 0.2):
            offset = rng.randint(0, len(region) - size)
        region += rng.randbytes(max(0, offset + size - len(region)))
        self.push(Store(offset, number, base, count, channels, plane))

    def copy(self) -> None:
        """A LOAD and a STORE of odd sizes, with no compute command between them."""
        rng, config = self.rng, self.config
        channels = rng.randint(1, 40)
        blocks = blocks_of(channels)
        count = rng.randint(1, max(1, min(40, config.a_words // (2 * blocks), self.left // 40)))
        plane = count + rng.randrange(3)
        bases = [rng.randint(0, config.a_words - blocks * plane) for _ in range(4)]
        # Mostly where it may run beside a compute command.
        if chance(rng, 0.8):
            bases.sort(
                key=lambda base: self.needed(0, [Span(Space.A, base, count, blocks, plane, True)])
            )
        base = bases[0]
        self.load_a(base, count, channels, plane if blocks > 1 else 0)
        self.store(base, count, rng.randint(1, blocks * BLOCK), plane)


def estimate(command: Command, config: Accelerator) -> int:
    """About the cycles of a command, rather too many."""
    outside = external(command, config)
    if outside and isinstance(command, Load | Store):
        words = outside.nbytes // 4 + 1
        if command.space == Space.A:
            words = max(words, command.count * blocks_of(command.channels))
        return words * 5 // 4 + 24
    if isinstance(command, Add):
        return command.count * BLOCK // config.requant_lanes + 24
    if not isinstance(command, Window):
        return 0
    lanes = group_lanes(command, config)
    each = max(command.steps, lanes // config.requant_lanes)
    return command.groups * command.out_h * command.out_w * each + 40


__all__ = ["CONFIGURATIONS", "EIGHT", "FOUR", "SINGLE", "SIXTEEN", "TINY", "WIDE", "Case", "valid"]
