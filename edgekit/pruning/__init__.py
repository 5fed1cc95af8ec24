"""``prune``: a smaller float model, and what that is worth before and after on the target."""

from edgekit.pruning.result import Pruned, Side
from edgekit.pruning.run import prune

__all__ = ["Pruned", "Side", "prune"]
