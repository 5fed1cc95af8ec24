"""Choosing a width for every layer under budgets of flash, RAM, latency and agreement."""

from edgekit.search.budget import Budget, read_budget
from edgekit.search.rows import Row, Search

__all__ = ["Budget", "Row", "Search", "read_budget"]
