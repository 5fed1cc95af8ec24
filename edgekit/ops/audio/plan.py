"""The integers of an `audio_features` node beside its tables: shifts, offsets, floors.

The reference and the kernels both take them from here. B, n and the other letters are those of
docs/SPEC.md, "Signal processing".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from edgekit.graph import GraphError, Value
from edgekit.ops import fixedpoint as fp
from edgekit.ops.audio import tables
from edgekit.ops.audio.settings import LOG_UNITS, Settings
from edgekit.ops.requant import tensor_quant

#: Frames are shifted left by at most so much; what then remains small is below a bit of a sample.
MOST_SHIFT = 16
#: Bits of squares that are dropped, so that sums of weighted squares stay below 2^60.
POWER_DROP = 14
#: Bits of amplitudes in noise tracking, and fractional bits of the noise estimate.
AMPLITUDE_BITS, NOISE_BITS = 40, 7
#: A floor and an energy are below this and 2^60, so that their sum fits 64 bits.
FLOOR_BITS = 61
#: Means of logarithms are below this many powers of two; with 16 bits behind, and the DCT's factor
#: of at most 2^3, they stay below 2^29.
MOST_MEAN = 1 << 10


@dataclass(frozen=True)
class Plan:
    """Integers that do not depend on the result's quantization.

    Attributes:
        n: log2 of fft_length.
        most_shift: k of a frame is at most this.
        slope: energies of a frame that was shifted left by k are 2^(slope k) too large.
        floor: added to or the least of an energy at k = most_shift; 0 where there is no logarithm.
        offset: what is taken off a logarithm, in 2^-16.
        drop: right shift from an energy (its root) to an amplitude of noise tracking, k comes on
            top; a negative one is a left shift before that by k.
        smoothing, remaining, strength: in Q0.15, strength and remaining up to 1.
        gain_offset: `Settings.offset` as an amplitude.
        log_floor: least logarithm under noise tracking, in 2^-16.
        energy_bits: log2 of the energy at k = 0 that stands for a real 1 (before the factor).
    """

    n: int
    most_shift: int
    slope: int
    floor: int
    offset: int
    drop: int
    smoothing: int
    remaining: int
    strength: int
    gain_offset: int
    log_floor: int
    energy_bits: float
    amplitude_bits: float


def plan_of(s: Settings) -> Plan:
    """The plan of legal settings.

    Raises:
        GraphError: where the floor, the mean or the offset of the gain exceeds all that samples
            can give.
    """
    n = s.fft_length.bit_length() - 1
    base = 27 if s.preemphasis else 28
    unit = math.log2(tables.integer_filters(s).unit) if s.mels else 0.0
    factor = math.log2(s.factor)
    if s.spectrum == "power":
        slope, bits = 2, 2 * base - 2 * n - POWER_DROP + unit
        drop = 30 - AMPLITUDE_BITS
        amplitude = base - n - POWER_DROP / 2 + unit / 2 - drop - factor / 2
    else:
        slope, bits = 1, base - n + unit
        drop = 44 + (n + 1) // 2 - AMPLITUDE_BITS
        amplitude = base - n + unit - drop - factor
    most, floor, offset, log_floor = MOST_SHIFT, 0, 0, 0
    if s.log != "none" and not s.tracks_noise:
        of_floor = math.log2(s.floor) - factor + bits
        most = min(MOST_SHIFT, math.floor((FLOOR_BITS - of_floor) / slope))
        if most < 0:
            raise GraphError(f"floor {s.floor:g} is above the energy of the loudest samples")
        floor = max(1, round(2.0 ** (of_floor + slope * most)))
        offset = round(2**tables.LOG_BITS * (bits - factor))
    if s.log != "none" and abs(s.mean) >= MOST_MEAN * LOG_UNITS[s.log]:
        raise GraphError(f"mean {s.mean:g} is beyond every logarithm")
    strength = round(s.strength * 2**15)
    gain_offset = 0
    if s.tracks_noise:
        offset = round(2**tables.LOG_BITS * amplitude * (1 - strength / 2**15))
        log_floor = round(2**tables.LOG_BITS * math.log2(s.floor))
    if s.strength:
        real = math.log2(s.offset) + amplitude
        if real > AMPLITUDE_BITS:
            raise GraphError(f"offset {s.offset:g} is above the amplitude of the loudest samples")
        gain_offset = max(1, round(2.0**real))
    return Plan(
        n, most, slope, floor, offset, drop, max(1, round(s.smoothing * 2**15)),
        round(s.remaining * 2**15), strength, gain_offset, log_floor, bits, amplitude,
    )  # fmt: skip


@dataclass(frozen=True)
class Ending:
    """From the last fixed-point number v of a feature to its integer:

    ``clamp(MBQM(clamp(v - mean, -limit, limit), multiplier, shift) + zero_point)``.

    `shrink` is the right shift that makes v of an energy where there is no logarithm.
    """

    shrink: int
    mean: int
    limit: int
    multiplier: int
    shift: int
    zero_point: int


def ending_of(s: Settings, plan: Plan, out: Value) -> Ending:
    """How features reach the grid of the result `out`."""
    scale, zero_point = tensor_quant(out)
    if s.log == "none":
        largest = scale * s.std * (2**16 if out.dtype == "int16" else 255) + abs(s.mean)
        bits = plan.energy_bits - math.log2(s.factor)
        shrink = max(0, math.ceil(math.log2(largest) + bits) - 28)
        unit = 2.0 ** (shrink - bits)
    else:
        shrink, unit = 0, LOG_UNITS[s.log] / 2**tables.LOG_BITS
        if s.coefficients:
            unit *= 2**15 / tables.integer_dct(s)[1]
    multiplier, shift = (int(v) for v in fp.quantize_multiplier(unit / (s.std * scale)))
    mean, limit = round(s.mean / unit), (1 << 30) >> max(shift, 0)
    return Ending(shrink, mean, limit, multiplier, shift, zero_point)
