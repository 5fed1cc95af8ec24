"""Smaller float graphs: fewer channels, or zeros among the weights."""

from pruner.channels import Thinned, prune_channels
from pruner.weights import Sparsified, prune_weights

__all__ = ["Sparsified", "Thinned", "prune_channels", "prune_weights"]
