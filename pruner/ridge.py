"""Weights that give the original network's results from the pruned network's inputs."""

from __future__ import annotations

import numpy as np

#: How strongly weights are held to the original ones, in units of the mean diagonal of the moment.
HOLD = 0.05


def answering(
    r: np.ndarray, h: np.ndarray, cross: np.ndarray, taps: np.ndarray | None = None
) -> np.ndarray:
    """Ridge regression: v minimizes E[(x v' - x_original r')^2] + hold * |v - r_taps|^2.

    Args:
        r: the original's rows [O, K].
        h: moment of the pruned network's inputs, [S, S].
        cross: of those with the original network's inputs, [S, K].
        taps: the S columns that are left; None means all K.

    Returns:
        rows [O, S].
    """
    start = r if taps is None else r[:, taps]
    mean = float(np.diag(h).mean()) if len(h) else 0.0
    if mean <= 0 or (h.shape == cross.shape and np.array_equal(h, cross)):
        return start  # nothing has changed in front of the layer
    hold = HOLD * mean
    right = cross @ r.T + hold * start.T
    return np.linalg.solve(h + hold * np.eye(len(h)), right).T
