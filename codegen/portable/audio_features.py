"""audio_features: frame by frame, with scratch for the spectrum of one frame."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from codegen.kernel import (
    C_TYPES,
    Candidate,
    Cost,
    KernelSpec,
    Layer,
    NotApplicable,
    Operand,
    Template,
    Written,
)
from edgekit.ops.audio import tables
from edgekit.ops.audio.plan import ending_of, plan_of
from edgekit.ops.audio.settings import Settings


def _candidates(layer: Layer) -> list[Candidate]:
    x, out = layer.inputs[0], layer.output
    if out.dtype not in ("int8", "int16"):
        raise NotApplicable(f"{out.dtype} results")
    s = Settings.of(layer.node.attrs)
    plan, table = plan_of(s), _table(s)
    frames = s.frames(x.shape[1])
    params = {
        "template": "audio_features",
        "headers": ["ek_audio.h"],
        "settings": asdict(s),
        "ending": asdict(ending_of(s, plan, out)),
        "samples": x.shape[1],
        "frames": frames,
    }
    earlier = layer.inputs[1:]
    if any(v.name in layer.constants for v in earlier):
        raise NotApplicable("a noise estimate that is constant")
    operands = (
        Operand("x", "int16", x.size, "input"),
        *(Operand("earlier", "int32", v.size, "input") for v in earlier),
        Operand("t", "int16", table.size, "constant"),
        Operand("y", out.dtype, out.size, "output"),
        *(Operand("later", "int32", v.size, "output") for v in earlier),
    )
    spec = KernelSpec("audio_features", "c99", operands, params)
    names = tuple(v.name for v in layer.inputs)
    return [Candidate(spec, names, {"t": table}, cost=_cost(s, frames))]


def _table(s: Settings) -> np.ndarray:
    """int16: window, twiddles, first bin and number of bins of each filter, weights, DCT."""
    parts = [] if s.window == "none" else [tables.integer_window(s)]
    parts.append(tables.twiddles(s.fft_length).ravel())
    if s.mels:
        filters = tables.integer_filters(s)
        parts += [np.stack([filters.first, filters.count], 1).ravel(), filters.weights]
    if s.coefficients:
        parts.append(tables.integer_dct(s)[0].ravel())
    return np.concatenate(parts)


def _cost(s: Settings, frames: int) -> Cost:
    """Fitted to counts on the virtual Cortex-M4, within 5 % there."""
    power = s.spectrum == "power"
    weights = int(tables.integer_filters(s).weights.size) if s.mels else 0
    count = 11.8 * s.fft_length + 5.0 * s.fft_length * plan_of(s).n
    count += (25.0 if power else 7.6) * weights + (0.0 if power else 49.0) * s.bins
    count += (61.0 + (130.0 if s.tracks_noise else 47.0 if s.log != "none" else 0.0)) * s.bands
    count += 2.2 * s.coefficients * s.mels + (2.1 * s.frame_length if s.preemphasis else 0.0)
    return Cost(round(count * frames), round(1.25 * count * frames))


def _write(spec: KernelSpec) -> Written:
    p = spec.params
    s, ending = Settings(**p["settings"]), p["ending"]
    plan = plan_of(s)
    half, out = s.fft_length // 2, next(o.dtype for o in spec.operands if o.name == "y")
    stateful = len(spec.operands) > 3
    words = 2 * s.bands if s.tracks_noise and not stateful else 0
    window = 0 if s.window == "none" else s.frame_length
    filters = window + s.fft_length
    before = ("frame[-1]" if s.lead else "f > 0 ? frame[-1] : 0") if s.preemphasis else "0"
    a = min(int(tables.round_half_away(s.preemphasis * 2**15)), 32767)
    lines = [
        f"int32_t *const z = (int32_t *)scratch + {words};" if words else
        "int32_t *const z = (int32_t *)scratch;",
    ]  # fmt: skip
    start = f"x + {s.lead} + f * {s.hop}"
    after = s.fft_length
    if s.coefficients:
        lines.append(f"int32_t *const v = z + {after};")
        after += s.mels
    if s.margin:
        lines.append(f"int16_t *const room = (int16_t *)(void *)(z + {after});")
        start = (
            f"ek_audio_edge(x, {p['samples']}, f * {s.hop} - {s.margin}, {s.frame_length}, "
            f"{int(s.edges == 'reflect')}, room)"
        )
        after += (s.frame_length + 1) // 2
    if stateful:
        lines.append(f"memcpy(later, earlier, {8 * s.bands}u);")
        lines.append("int64_t *const noise = (int64_t *)(void *)later;")
    elif s.tracks_noise:
        lines.append("int64_t *const noise = (int64_t *)scratch;")
        lines.append(f"memset(noise, 0, {8 * s.bands}u);")
    lines += [
        f"for (int32_t f = 0; f < {p['frames']}; ++f) {{",
        f"    const int16_t *const frame = {start};",
        f"    const int32_t k = ek_audio_frame(frame, t, {int(window > 0)}, {s.frame_length}, "
        f"{half}, {a}, {before}, {plan.most_shift}, z);",
        f"    ek_audio_spectrum(z, t + {window}, {half});",
    ]
    if s.spectrum == "magnitude":
        lines.append(f"    ek_audio_magnitudes(z, {half});")
    if s.mels:
        lines.append(f"    const int16_t *w = t + {filters + 2 * s.mels};")
    lines.append(f"    for (int32_t b = 0; b < {s.bands}; ++b) {{")
    lines += [f"        {line}" for line in [*_energy(s, half, filters), *_value(s, ending)]]
    value = _feature(ending, out)
    if s.coefficients:
        lines += ["        v[b] = e;", "    }", *_dct(s, filters, value)]
    else:
        lines += [f"        y[f * {s.bands} + b] = {value};", "    }"]
    lines.append("}")
    body = "\n".join(f"    {line}" for line in lines)
    earlier = "const int32_t *restrict earlier, " if stateful else ""
    later = "int32_t *restrict later, " if stateful else ""
    text = (
        f"void {spec.name}(const int16_t *restrict x, {earlier}const int16_t *restrict t, "
        f"{C_TYPES[out]} *restrict y, {later}void *restrict scratch)\n{{\n{body}\n}}\n"
    )
    return Written(text, {}, 4 * (words + after))


def _energy(s: Settings, half: int, filters: int) -> list[str]:
    """`sum`, the energy of band b."""
    power = int(s.spectrum == "power")
    if s.mels:
        table = tables.integer_filters(s)
        ends = int(table.first.min() == 0 or (table.first + table.count).max() == s.bins)
        return [
            f"const int32_t count = t[{filters + 1} + 2 * b];",
            f"const uint64_t sum = ek_audio_band(z, {half}, {power}, {ends}, t[{filters} + 2 * b], "
            "count, w);",
            "w += count;",
        ]
    if power:
        return [f"const uint64_t sum = ek_audio_square(z, b, {half}, 1) >> EK_AUDIO_POWER_DROP;"]
    return ["const uint64_t sum = (uint32_t)z[b];"]


def _value(s: Settings, ending: dict[str, int]) -> list[str]:
    """`e`, the fixed-point number of band b before the DCT and the result's grid."""
    plan = plan_of(s)
    if s.tracks_noise:
        root = "(uint64_t)ek_audio_root(sum)" if s.spectrum == "power" else "sum"
        up = f"({root} << {-plan.drop})" if plan.drop < 0 else root
        down = f"(k + {plan.drop})" if plan.drop > 0 else "k"
        return [
            f"const int32_t level = ek_audio_track({up} >> {down}, noise + b, {plan.smoothing}, "
            f"{plan.remaining}, {plan.strength}, UINT64_C({plan.gain_offset}));",
            f"const int32_t e = ek_max(level - ({plan.offset}), {plan.log_floor});",
        ]
    times = "" if plan.slope == 1 else f"{plan.slope} * "
    if s.log == "none":
        return [
            f"const uint64_t all = sum >> ({times}k + {ending['shrink']});",
            "const int32_t e = all > (1u << 30) ? 1 << 30 : (int32_t)all;",
        ]
    shift = f"{times}({plan.most_shift} - k)"
    lines = [f"uint64_t floor = UINT64_C({plan.floor}) >> ({shift});", "floor += floor == 0u;"]
    both = "sum > floor ? sum : floor" if s.floor_kind == "max" else "sum + floor"
    return [
        *lines,
        f"const int32_t e = ek_audio_log2({both}) - {times}k * 65536 - ({plan.offset});",
    ]


def _dct(s: Settings, filters: int, value: str) -> list[str]:
    """The coefficients of the frame from v."""
    at = filters + 2 * s.mels + int(tables.integer_filters(s).weights.size)
    return [
        f"    const int16_t *row = t + {at};",
        f"    for (int32_t i = 0; i < {s.coefficients}; ++i, row += {s.mels}) {{",
        "        int64_t sum = 0;",
        f"        for (int32_t b = 0; b < {s.mels}; ++b) {{",
        "            sum += (int64_t)v[b] * row[b];",
        "        }",
        "        const int32_t e = (int32_t)((sum + 16384) >> 15);",
        f"        y[f * {s.coefficients} + i] = {value};",
        "    }",
    ]


def _feature(ending: dict[str, int], dtype: str) -> str:
    """The expression of a result from `e`."""
    mean, limit = ending["mean"], ending["limit"]
    centred = f"e - ({mean})" if mean else "e"
    limited = f"ek_max(ek_min({centred}, {limit}), -{limit})"
    call = "ek_requantize16" if dtype == "int16" else "ek_requantize"
    low, high = (-32768, 32767) if dtype == "int16" else (-128, 127)
    return (
        f"{call}({limited}, {ending['multiplier']}, {ending['shift']}, "
        f"{ending['zero_point']}, {low}, {high})"
    )


TEMPLATES = (Template("audio_features", ("audio_features",), _candidates, _write),)
