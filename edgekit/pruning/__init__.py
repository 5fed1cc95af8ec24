"""``prune``: a smaller float model, and what that is worth before and after on the target."""

from edgekit.pruning.judge import Side
from edgekit.pruning.result import Pruned
from edgekit.pruning.run import prune

__all__ = ["Pruned", "Side", "prune"]
