"""Rounding that lets later weights make up for the errors of earlier ones.

For one output channel with real weights w and integers q of scale s, the squared error of the
layer's results over the calibration data is (s q - w) H (s q - w)' with H the second moment of
the layer's inputs. `greedy` is GPTQ (Frantar et al., arXiv:2210.17323, algorithm 1: columns in
order of their moment, the remaining weights absorb each rounding error through the Cholesky factor
of the inverse of H); `descend` then changes single integers while that lowers the error.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quantizer.weights import Grid

#: Candidate scales as fractions of max|w| / largest integer.
FRACTIONS = {4: np.linspace(0.5, 1.0, 11), 8: np.linspace(0.85, 1.0, 4)}
#: Added to the diagonal of H, in units of its mean (GPTQ's own default).
DAMPING = 0.01
#: The most inputs of one result: H and what is made of it are a few K x K matrices of float64.
MOST_INPUTS = 4096
#: Columns per block: errors reach the columns behind a block in one product.
BLOCK = 64
#: Rounds of refitted scales and coordinate descent behind the greedy pass.
ROUNDS = 3


def damped(h: np.ndarray, share: float = DAMPING) -> np.ndarray:
    """H [K, K] with a diagonal that makes it invertible, also where inputs are dead."""
    mean = float(np.diag(h).mean())
    return h + np.eye(len(h)) * (share * mean if mean > 0 else 1.0)


def round_groups(
    targets: list[np.ndarray],
    moments: list[np.ndarray],
    grid: Grid,
    limits: np.ndarray,
    live: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """`round_rows` for every group of a layer: rows [O / G, K] and damped moments [K, K] each;
    `limits` [O] and `live` [O, K] are those of the whole layer.

    Returns:
        (integers [O, K], scales [O]); one scale for all groups where the grid has one.
    """
    share = len(targets[0])
    parts = [slice(g * share, (g + 1) * share) for g in range(len(targets))]
    floor = grid.floor
    fractions = FRACTIONS[grid.bits]
    if grid.weights == "per-tensor":
        floor = np.full_like(floor, floor.max())
        if len(targets) > 1:
            fractions = np.array([_common_fraction(targets, moments, grid, limits)])
    found = [
        round_rows(
            r,
            h,
            replace(grid, floor=floor[part]),
            limits[part],
            fractions,
            None if live is None else live[part],
        )
        for r, h, part in zip(targets, moments, parts, strict=True)
    ]
    return np.concatenate([q for q, _ in found]), np.concatenate([s for _, s in found])


def _common_fraction(
    targets: list[np.ndarray], moments: list[np.ndarray], grid: Grid, limits: np.ndarray
) -> float:
    """The fraction of the scale without clipping that has the least error over all groups."""

    def error(fraction: float) -> float:
        scale = grid.legal(limits * fraction)[: len(targets[0])]
        return sum(
            float(error_of(r, greedy(r / scale[:, None], h, grid.top), scale, h).sum())
            for r, h in zip(targets, moments, strict=True)
        )

    return min((float(f) for f in FRACTIONS[grid.bits]), key=error)


def round_rows(
    r: np.ndarray,
    h: np.ndarray,
    grid: Grid,
    limits: np.ndarray,
    fractions: np.ndarray,
    live: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Integers and scales of rows [O, K] under the damped moment h [K, K].

    Args:
        limits: float64[O], the scales at which no weight is clipped.
        fractions: candidate scales in units of those.
        live: bool [O, K], False where a pruned weight has to stay zero; None where none has to.

    Returns:
        (integers float64 [O, K], scales float64[O]). The candidate scale with the least error is
        taken per channel, or for all channels together where the grid has one scale.
    """
    candidates = [grid.legal(limits * f) for f in fractions]
    # All candidates run as further rows of one problem: they share the factor of H.
    steps = np.concatenate([r / s[:, None] for s in candidates])
    repeated = None if live is None else np.tile(live, (len(candidates), 1))
    found = greedy(steps, h, grid.top, repeated).reshape(len(candidates), *r.shape)
    errors = np.array(
        [error_of(r, q, s, h) for q, s in zip(found, candidates, strict=True)]
    )  # [candidates, O]
    if grid.weights == "per-tensor":
        best = np.full(len(r), errors.sum(axis=1).argmin())
    else:
        best = errors.argmin(axis=0)
    channel = np.arange(len(r))
    q, scale = found[best, channel], np.array(candidates)[best, channel]
    for _ in range(ROUNDS):
        if grid.weights == "per-channel":
            scale = grid.legal(refit(r, q, scale, h))
        q = descend(r / scale[:, None], q, h, grid.top, live)
    return q, scale


def error_of(r: np.ndarray, q: np.ndarray, scale: np.ndarray, h: np.ndarray) -> np.ndarray:
    """Mean squared error of each channel's results, float64[O]."""
    difference = q * scale[:, None] - r
    return np.einsum("ok,ok->o", difference @ h, difference)


def greedy(v: np.ndarray, h: np.ndarray, top: int, live: np.ndarray | None = None) -> np.ndarray:
    """GPTQ on rows v [R, K] in units of their scales; returns integers in [-top, top], 0 where
    `live` is False."""
    order = np.argsort(-np.diag(h), kind="stable")
    factor = np.linalg.cholesky(np.linalg.inv(h[np.ix_(order, order)])).T
    rest, q = v[:, order].astype(np.float64), np.empty(v.shape)
    for start in range(0, v.shape[1], BLOCK):
        stop = min(start + BLOCK, v.shape[1])
        errors = np.empty((len(v), stop - start))
        for i in range(start, stop):
            q[:, i] = np.clip(np.rint(rest[:, i]), -top, top)
            if live is not None:
                q[:, i] *= live[:, order[i]]
            errors[:, i - start] = (rest[:, i] - q[:, i]) / factor[i, i]
            rest[:, i + 1 : stop] -= np.outer(errors[:, i - start], factor[i, i + 1 : stop])
        rest[:, stop:] -= errors @ factor[start:stop, stop:]
    return q[:, np.argsort(order)]


def descend(
    v: np.ndarray, q: np.ndarray, h: np.ndarray, top: int, live: np.ndarray | None = None
) -> np.ndarray:
    """One pass of coordinate descent: each integer becomes the best one given all others."""
    q = q.copy()
    gradient = (q - v) @ h
    for j in range(v.shape[1]):
        best = np.clip(np.rint(q[:, j] - gradient[:, j] / h[j, j]), -top, top)
        if live is not None:
            best *= live[:, j]
        change = best - q[:, j]
        moved = np.flatnonzero(change)
        if len(moved):
            q[moved, j] = best[moved]
            gradient[moved] += np.outer(change[moved], h[j])
    return q


def refit(r: np.ndarray, q: np.ndarray, scale: np.ndarray, h: np.ndarray) -> np.ndarray:
    """The least-squares scale of each channel for its integers; unchanged where those are zero."""
    qh = q @ h
    power, match = np.einsum("ok,ok->o", qh, q), np.einsum("ok,ok->o", qh, r)
    usable = (power > 0) & (match > 0)
    return np.where(usable, match / np.where(usable, power, 1.0), scale)
