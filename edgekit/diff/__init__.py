"""Where two networks part: float against integer, or one compiled model against another.

`compare` measures every tensor that both graphs have. Errors, all `EdgekitError`:

    E220  the graphs have different inputs
    E221  they have no tensor in common, or one name has two shapes
    E222  the second graph is not an integer graph
"""

from edgekit.diff.compare import compare
from edgekit.diff.model import Diff, Lift, TensorDiff
from edgekit.diff.page import page

__all__ = ["Diff", "Lift", "TensorDiff", "compare", "page"]
