"""Which products of int16 pairs make an output of a depthwise convolution, and their weights.

A column of pixels is words of two rows (`codegen.thumb.columns`). An output that starts in the
lower half of a word reads its taps (0, 1), (2, 3), ... as whole words; one that starts in the upper
half reads tap 0 as an upper half, then (1, 2), (3, 4), ... What is left over is one half of a word.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

Tap = tuple[int, int]


@dataclass(frozen=True)
class Product:
    """One multiplication: data word `word` of column `column` for output row `row`.

    `half` is "" for both halves, else "b" or "t" for the one of the pixels; `tap` is (row, column)
    of the kernel, for both halves that of the lower one.
    """

    row: int
    word: int
    column: int
    half: str
    tap: Tap


@dataclass(frozen=True)
class Taps:
    """A kernel of `height` x `width` taps at a vertical stride."""

    height: int
    width: int
    stride: int

    def products(self, rows: int) -> list[Product]:
        """Of `rows` outputs, the first of which starts in the lower half of word 0."""
        return [p for j in range(self.width) for r in range(rows) for p in self._of_row(r, j)]

    def _of_row(self, row: int, j: int) -> list[Product]:
        first = row * self.stride
        found = []
        i = first % 2
        if i:
            found.append(Product(row, first // 2, j, "t", (0, j)))
        while i < self.height:
            half = "" if i + 1 < self.height else "b"
            found.append(Product(row, (first + i) // 2, j, half, (i, j)))
            i += 2
        return found

    @cached_property
    def words(self) -> list[tuple[Tap, Tap | None]]:
        """Taps of each weight word, lower half first: pairs, then what no pair contains."""
        # Four rows have all parities that there are.
        products = self.products(4)
        pairs = sorted({(p.tap[1], p.tap[0]) for p in products if not p.half})
        words: list[tuple[Tap, Tap | None]] = [((i, j), (i + 1, j)) for j, i in pairs]
        known = {tap for word in words for tap in word}
        single = sorted({p.tap for p in products if p.half} - known, key=lambda t: t[::-1])
        for k in range(0, len(single), 2):
            words.append((single[k], single[k + 1] if k + 1 < len(single) else None))
        return words

    def weight(self, product: Product) -> tuple[int, str]:
        """The word of a product's weight, and which half: "b", "t", or "" for both."""
        tap = product.tap
        if not product.half:
            return self.words.index((tap, (tap[0] + 1, tap[1]))), ""
        for n, word in enumerate(self.words):
            if tap in word:
                return n, "bt"[word.index(tap)]
        raise AssertionError(product)

    def pack(self, weights: np.ndarray) -> np.ndarray:
        """int32 [O, words] of weights [O, height, width] that fit into int16."""
        halves = np.zeros((len(weights), len(self.words), 2), np.int16)
        for n, word in enumerate(self.words):
            for half, tap in enumerate(word):
                if tap is not None:
                    halves[:, n, half] = weights[:, tap[0], tap[1]]
        return halves.reshape(len(weights), -1).view("<i4")


def mnemonic(product: Product, half: str) -> str:
    """The multiply-accumulate of `product` with that half of a weight word."""
    return f"smla{product.half}{half}" if product.half else "smlad"
