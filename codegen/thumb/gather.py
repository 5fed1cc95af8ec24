"""How the taps of a tile's pixels reach packed activations (`codegen.thumb.scaled`), as C text.

Three ways, by layer:

* "pixels": a tile's pixels lie one after the other (pointwise): one routine packs all of them;
* "words": pixels of whole words: each row of a window is a run of words, packed straight into the
  pixel's slots; windows that reach into padding go tap by tap;
* "bytes": anything else: a pixel's taps are copied to a patch, which is packed then.

A tap outside the image is the zero point.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from codegen.kernel import Cost
from codegen.thumb.layers import mode_of
from codegen.thumb.packing import pack_run, pack_tile, pair_of
from codegen.thumb.routine import Routine


@dataclass(frozen=True)
class Text:
    """Packing of a tile: C statements, those of one pixel in all places, their functions."""

    statement: str
    single: str
    parts: dict[str, str]


def indent(text: str) -> str:
    """C lines one level deeper."""
    return "".join(f"    {line}\n" for line in text.splitlines())


def unroll_of(words: int) -> int:
    return next(n for n in (4, 2, 1) if words % n == 0)


class Gather:
    """Text and cost of packing tiles of `tile` pixels for a layer with parameters `p`.

    `kind` is that of `codegen.thumb.packing`; tiles of `whole` pixels have a routine of their own,
    0 where none has.
    """

    def __init__(self, p: dict[str, Any], tile: int, kind: str, whole: int = 0) -> None:
        self.p = p
        self.tile = tile
        self.kind = kind
        self.whole = whole
        self.mode = mode_of(p)
        self.runs_whole = p["dilations"][1] == 1
        kh, kw = p["kernel"]
        self.extent = ((kh - 1) * p["dilations"][0] + 1, (kw - 1) * p["dilations"][1] + 1)
        #: Bytes of the longest runs of a window, and how many there are.
        self.run_bytes = kw * p["C"] if self.runs_whole else p["C"]
        self.runs = kh if self.runs_whole else kh * kw

    @property
    def patch_bytes(self) -> int:
        """Bytes of scratch beyond the packed activations."""
        if self.mode != "bytes":
            return 0
        return int(self.p["taps"]) * (self.tile if self.tiled else 1)

    @property
    def bytes(self) -> int:
        """Bytes of the packed activations."""
        return int(2 * self.tile * self.p["taps"])

    def text(self) -> Text:
        """The statement packs the pixels from x (mode "pixels") or from window (iy, ix) on."""
        tile, taps = self.tile, self.p["taps"]
        if self.mode == "pixels":
            if tile == self.whole:
                pack = pack_tile(self.kind, tile)
                call = f"{pack.name}(x, a, {taps}, {taps // 4});"
                single = f"{pack.name}(x, a, 0, {taps // 4});"
            else:
                pack = pack_run(self.kind, tile, self._unroll(taps // 4))
                call = "".join(
                    f"{pack.name}(x + {i * taps}, a + {i}, {taps // 4});" for i in range(tile)
                )
                single = "".join(f"{pack.name}(x, a + {i}, {taps // 4});" for i in range(tile))
            return Text(call, single, {pack.name: pack.text()})
        return self._window_text()

    def _window_text(self) -> Text:
        """By windows: each pixel on its own, or a tile at once where it lies within a row."""
        p, tile = self.p, self.tile
        words = self.mode == "words"
        body = self._words() if words else self._bytes()
        arguments = f"(const int8_t *x, int{32 if words else 8}_t *to, int32_t iy, int32_t ix)"
        name = f"ek_window_{hashlib.sha256((arguments + body).encode()).hexdigest()[:6]}"
        # Windows that all lie in the image need no routine for taps, those that never do only that.
        called = [r for r in self._routines() if not words or f"{r.name}(" in body]
        parts = {r.name: r.text() for r in called}
        parts[name] = f"static void {name}{arguments}\n{{\n{body}}}\n"
        if words:
            to, after, single_after = "a + i", "", ""
        elif self.tiled:
            pack = self._tile.name
            to = f"patch + i * {p['taps']}u"
            after = f"{pack}(patch, a, {p['taps']}, {p['taps'] // 4});"
            single_after = f"{pack}(patch, a, 0, {p['taps'] // 4});"
        else:
            (run,) = self._routines()
            to, after, single_after = "patch", "", ""
            pack = f"{run.name}(patch, a + i, {p['taps'] // 4});"
        sh, sw = p["strides"]
        end, start = p["OW"] * sw - p["pads"][1], -p["pads"][1]

        def wrap(step: int) -> str:
            return f"ix += {step};\nif (ix == {end}) {{\n    ix = {start};\n    iy += {sh};\n}}\n"

        each = f"{name}(x, {to}, iy, ix);\n"
        if not words and not self.tiled:
            each += pack + "\n"
        single = "".join(each.replace("+ i", f"+ {i}") for i in range(1 if self.tiled and not words
                                                                     else tile))  # fmt: skip
        text = f"for (uint32_t i = 0; i < {tile}u; i++) {{\n{indent(each + wrap(sw))}}}\n"
        if (bounds := self._tile_bounds()) and words:
            rows, columns = bounds
            parts[self._tile.name] = self._tile.text()
            per_run = self.run_bytes // 4
            call = f"{self._tile.name}(from, to, {sw * p['C']}, {per_run});\n"
            step = f"from += {p['dilations'][0] * self._row};\nto += {2 * tile * per_run};\n"
            loop = f"for (uint32_t k = 0; k < {self.runs}u; k++) {{\n{indent(call + step)}}}\n"
            fast = (
                f"const int8_t *from = x + iy * {self._row} + ix * {p['C']};\nint32_t *to = a;\n"
                + (loop if self.runs > 1 else call)
                + wrap(tile * sw)
            )
            text = (
                f"if ((uint32_t)iy <= {rows}u && (uint32_t)ix <= {columns}u) {{\n{indent(fast)}"
                f"}} else {{\n{indent(text)}}}\n"
            )
        return Text(text + after, single + single_after, parts)

    @property
    def tiled(self) -> bool:
        """Whether a routine packs all pixels of the tile at once."""
        return self.tile == self.whole

    @property
    def _tile(self) -> Routine:
        return pack_tile(self.kind, self.tile)

    def _tile_bounds(self) -> tuple[int, int] | None:
        """Largest iy and ix at which a tile lies within a row and all its windows in the image."""
        p = self.p
        if not self.tiled or not self.runs_whole:
            return None
        sw = p["strides"][1]
        last = min((p["OW"] - self.tile) * sw - p["pads"][1],
                   p["W"] - self.extent[1] - (self.tile - 1) * sw)  # fmt: skip
        rows = p["H"] - self.extent[0]
        return (rows, last) if rows >= 0 and last >= 0 else None

    def _unroll(self, words: int) -> int:
        """Of runs of `words`; the smaller tile at the end has one routine for all of them."""
        return unroll_of(words) if self.whole in (0, self.tile) else 1

    # ---- one pixel

    @property
    def _row(self) -> int:
        return int(self.p["W"] * self.p["C"])

    def _routines(self) -> list[Routine]:
        if self.mode == "bytes":
            return [
                self._tile
                if self.tiled
                else pack_run(self.kind, self.tile, self._unroll(self.p["taps"] // 4))
            ]
        return [pack_run(self.kind, self.tile, self._unroll(self.run_bytes // 4)), self._tap]

    @property
    def _tap(self) -> Routine:
        return pack_run(self.kind, self.tile, self._unroll(self.p["C"] // 4))

    def _inside(self) -> str:
        """C condition that a window lies in the image; "" where all of them do."""
        p = self.p
        if not any(p["pads"]):
            return ""
        room = [p["H"] - self.extent[0], p["W"] - self.extent[1]]
        if min(room) < 0:
            return "0"
        return f"(uint32_t)iy <= {room[0]}u && (uint32_t)ix <= {room[1]}u"

    def _taps(self, action: str, outside: str, after: str) -> str:
        """C loops over the taps of a window, each inside (`action`, at x + at) or `outside`."""
        p = self.p
        kh, kw = p["kernel"]
        dh, dw = p["dilations"]
        return (
            f"    for (int32_t y = iy; y < iy + {kh * dh}; y += {dh}) {{\n"
            f"        for (int32_t z = ix; z < ix + {kw * dw}; z += {dw}) {{\n"
            f"            if ((uint32_t)y < {p['H']}u && (uint32_t)z < {p['W']}u) {{\n"
            f"                {action}\n            }} else {{\n                {outside}\n"
            f"            }}\n            {after}\n        }}\n    }}\n"
        )

    def _fast(self, action: str, after: str, indent: str) -> str:
        """C loops over the runs of a window that lies in the image; x is moved."""
        p, c = self.p, self.p["C"]
        kh, kw = p["kernel"]
        dh, dw = p["dilations"]
        text = f"x += iy * {self._row} + ix * {c};\n"
        if self.runs_whole:
            inner = f"{action}\n    {after}\n"
            if kh == 1:
                text += inner
            else:
                text += (
                    f"for (uint32_t k = 0; k < {kh}u; k++) {{\n    {inner}"
                    f"    x += {dh * self._row};\n}}\n"
                )
        else:
            text += (
                f"for (uint32_t k = 0; k < {kh}u; k++) {{\n    for (uint32_t j = 0; j < {kw}u; "
                f"j++) {{\n        {action}\n        {after}\n        x += {dw * c};\n    }}\n"
                f"    x += {dh * self._row - kw * dw * c};\n}}\n"
            )
        return "".join(f"{indent}{line}\n" for line in text.splitlines())

    def _words(self) -> str:
        run, tap = self._routines()
        c, group = self.p["C"], 2 * self.tile
        words = self.run_bytes // 4
        fast = self._fast(f"{run.name}(x, to, {words});", f"to += {group * words};", "    ")
        inside = self._inside()
        if not inside:
            return fast
        pair = pair_of(self.kind, self.p["zx"])
        slow = self._taps(
            f"{tap.name}(x + y * {self._row} + z * {c}, to, {c // 4});",
            f"for (uint32_t k = 0; k < {group * c // 4}u; k += {group}u) {{\n"
            f"                    to[k] = (int32_t){pair[0]}u;\n"
            f"                    to[k + {self.tile}u] = (int32_t){pair[1]}u;\n"
            "                }",
            f"to += {group * c // 4};",
        )
        if inside == "0":
            return slow
        indented = "".join(f"    {line}\n" for line in fast.splitlines())
        return f"    if ({inside}) {{\n{indented}        return;\n    }}\n{slow}"

    def _bytes(self) -> str:
        p, c = self.p, self.p["C"]
        kh, kw = p["kernel"]
        taps = p["taps"]
        gap = taps - kh * kw * c
        fill = f"    memset(to, 0, {gap}u);\n" if gap else ""
        run_bytes = self.run_bytes
        fast = self._fast(f"memcpy(to, x, {run_bytes}u);", f"to += {run_bytes};", "    ")
        inside = self._inside()
        slow = self._taps(
            f"memcpy(to, x + y * {self._row} + z * {c}, {c}u);",
            f"memset(to, {p['zx']}, {c}u);",
            f"to += {c};",
        )
        if not inside:
            body = fast
        elif inside == "0":
            body = slow
        else:
            indented = "".join(f"    {line}\n" for line in fast.splitlines())
            nested = "".join(f"    {line}\n" for line in slow.splitlines())
            body = f"    if ({inside}) {{\n{indented}    }} else {{\n{nested}    }}\n"
        return body + fill

    # ---- cost

    def pixel_cost(self, inside: bool) -> Cost:
        """Of one pixel; "pixels" go by tiles. What the compiler makes of C is estimated."""
        p = self.p
        kh, kw = p["kernel"]
        whole = self._run_cost(p["taps"])
        if self.mode == "pixels":
            return whole + Cost(4, 6)
        if self.mode == "bytes":
            length, count = (self.run_bytes, self.runs) if inside else (p["C"], kh * kw)
            per_run = _copy_instructions(length) + (4 if inside else 9)
            copied = Cost(per_run * count + 12, (per_run * count + 12) * 3 // 2)
            return copied if self.tiled else whole + copied
        if inside:
            return (self._run_cost(self.run_bytes) + Cost(7, 10)) * self.runs + Cost(20, 28)
        return (self._run_cost(p["C"]) + Cost(16, 22)) * (kh * kw) + Cost(24, 36)

    def _run_cost(self, taps: int) -> Cost:
        words = taps // 4
        unroll = self._unroll(words)
        return pack_run(self.kind, self.tile, unroll).cost(words=words // unroll)


def _copy_instructions(nbytes: int) -> int:
    """What a memcpy of a constant size takes: inline where it is small."""
    if nbytes <= 16:
        return 2 * (nbytes // 4) + 2 * (nbytes % 4).bit_count()
    return 2 * nbytes + 10


def gather_cost(p: dict[str, Any], tile: int, kind: str) -> Cost:
    """Of packing all pixels of a layer in tiles of `tile`, the last of which may be smaller."""
    pixels = p["OH"] * p["OW"]
    gather = Gather(p, tile, kind, tile)
    if gather.mode == "pixels":
        whole, rest = divmod(pixels, tile)
        total = (pack_tile(kind, tile).cost(words=p["taps"] // 4) + Cost(5, 8)) * whole
        return total + Gather(p, rest or 1, kind, tile).pixel_cost(True) * rest
    tiles = 0
    if gather.mode == "words" and (bounds := gather._tile_bounds()):
        tiles = sum(
            0 <= t // p["OW"] * p["strides"][0] - p["pads"][0] <= bounds[0]
            and 0 <= t % p["OW"] * p["strides"][1] - p["pads"][1] <= bounds[1]
            for t in range(0, pixels - tile + 1, tile)
        )
    inside = 1
    for axis, size in enumerate(("H", "W")):
        starts = range(p["O" + size])
        stride, pad, room = p["strides"][axis], p["pads"][axis], p[size] - gather.extent[axis]
        inside *= sum(0 <= i * stride - pad <= room for i in starts)
    total = gather.pixel_cost(True) * (inside - tiles * tile)
    total += gather.pixel_cost(False) * (pixels - inside)
    run = pack_tile(kind, tile).cost(words=gather.run_bytes // 4) + Cost(8, 12)
    total += (run * gather.runs + Cost(14, 20)) * tiles
    if gather.mode == "bytes":
        whole = pixels // tile
        total += (pack_tile(kind, tile).cost(words=p["taps"] // 4) + Cost(5, 8)) * whole
    return total
