"""Optimal brain surgeon: what to remove, and how what is left makes up for it.

For rows w of a layer and the second moment H of its inputs, removing a set P of weights and
refitting all others costs w_P (inv(H)_PP)^-1 w_P', and the others move by
-w_P (inv(H)_PP)^-1 inv(H)_P: (Hassibi & Stork 1993; layer by layer: Frantar & Alistarh,
arXiv:2208.11580).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

#: Passes in which a layer reaches its sparsity: scores are computed anew before each.
STAGES = 16
#: Elements of the inverse moments of one block of rows: 256 MB of float64.
BLOCK_ELEMENTS = 1 << 25


@dataclass
class Reader:
    """A layer that reads prunable channels: its rows [O, K], the inverse of its moment [K, K], and
    the energy of its results, which makes errors of different layers comparable."""

    rows: np.ndarray
    inverse: np.ndarray
    energy: float

    def costs(self, columns: list[np.ndarray]) -> np.ndarray:
        """Error, as a share of the energy, of removing each of these sets of columns."""
        found = np.empty(len(columns))
        for i, c in enumerate(columns):
            if len(c):
                w = self.rows[:, c]
                found[i] = np.sum(w * np.linalg.solve(self.inverse[np.ix_(c, c)], w.T).T)
            else:
                found[i] = 0.0
        return found / self.energy

    def remove(self, c: np.ndarray) -> None:
        """Remove columns: the rest is refitted, and the inverse becomes that of what is left."""
        if not len(c):
            return
        step = np.linalg.solve(self.inverse[np.ix_(c, c)], self.inverse[c])
        self.rows = self.rows - self.rows[:, c] @ step
        self.rows[:, c] = 0
        self.inverse = self.inverse - self.inverse[:, c] @ step
        self.inverse[c], self.inverse[:, c] = 0, 0


def sparsify(
    target: np.ndarray, h: np.ndarray, zeros: int, pattern: tuple[int, int] | None = None
) -> np.ndarray:
    """Rows [O, K] with zeros that change the results least.

    Args:
        target: real rows [O, K].
        h: damped second moment of the inputs, [K, K].
        zeros: how many weights of all rows become zero, those that are already included.
        pattern: (N, M): at most N of M neighbours in a row stay; `zeros` is then not used.

    Rows are pruned in `STAGES` passes. In each the weights with the least cost over all rows are
    removed, per row together, and that row's other weights and its inverse moment are updated.
    Every row has an inverse moment of its own; layers with very many weights are pruned in blocks
    of rows for that, each to the same share.
    """
    step = max(1, BLOCK_ELEMENTS // h.size)
    ends: list[int] = [*range(step, len(target), step), len(target)]
    done = np.zeros((0, target.shape[1]))
    for end in ends:
        here = target[len(done) : end]
        count = round(zeros * end / len(target)) - round(zeros * len(done) / len(target))
        done = np.concatenate([done, _sparsify_block(here, h, count, pattern)])
    return done


def _sparsify_block(
    target: np.ndarray, h: np.ndarray, zeros: int, pattern: tuple[int, int] | None
) -> np.ndarray:
    rows = np.array(target, np.float64)
    dead = rows == 0
    inverses = np.repeat(np.linalg.inv(h)[None], len(rows), axis=0)
    for old, inverse, zero in zip(rows, inverses, dead, strict=True):
        _remove(old, inverse, np.flatnonzero(zero))
    alive = ~dead
    goal = rows.size - zeros
    stages = pattern[1] - pattern[0] if pattern else STAGES
    for stage in range(stages):
        diagonal = np.einsum("okk->ok", inverses)
        cost = np.where(alive, rows**2 / np.where(alive, diagonal, 1.0), np.inf)
        if pattern:
            picked = _worst_of_each(cost, alive, pattern)
        else:
            picked = _least(cost, (int(alive.sum()) - goal) // (stages - stage))
        for row in np.flatnonzero(picked.any(axis=1)):
            _remove(rows[row], inverses[row], np.flatnonzero(picked[row]))
        alive &= ~picked
    return np.where(alive, rows, 0.0)


def _remove(row: np.ndarray, inverse: np.ndarray, c: np.ndarray) -> None:
    """Remove weights `c` of one row, in place of the row [K] and its inverse moment [K, K]."""
    if not len(c):
        return
    step = np.linalg.solve(inverse[np.ix_(c, c)], inverse[c])
    row -= row[c] @ step
    row[c] = 0
    inverse -= inverse[:, c] @ step
    inverse[c], inverse[:, c] = 0, 0


def _least(cost: np.ndarray, count: int) -> np.ndarray:
    """The `count` elements of least finite cost, as a mask."""
    picked = np.zeros(cost.size, bool)
    if count > 0:
        picked[np.argpartition(cost.ravel(), count - 1)[:count]] = True
    return picked.reshape(cost.shape)


def _worst_of_each(cost: np.ndarray, alive: np.ndarray, pattern: tuple[int, int]) -> np.ndarray:
    """In each run of M neighbours with more than N weights, the one of least cost."""
    keep, of = pattern
    picked = np.zeros(cost.shape, bool)
    for start in range(0, cost.shape[1], of):
        part = slice(start, start + of)
        crowded = np.flatnonzero(alive[:, part].sum(axis=1) > keep)
        picked[crowded, start + cost[crowded, part].argmin(axis=1)] = True
    return picked


def follows(rows: np.ndarray, pattern: tuple[int, int]) -> bool:
    """Whether at most N of each M neighbours in every row [O, K] are not zero."""
    keep, of = pattern
    padded = np.pad(rows, ((0, 0), (0, -rows.shape[1] % of)))
    return bool(((padded.reshape(len(rows), -1, of) != 0).sum(axis=2) <= keep).all())
