"""Everything that is known of a build as one HTML file, and two builds compared.

Output folder and profiles -> `Facts` (plain values, also `edgekit report --json`) -> page.
"""

from edgekit.htmlreport.compare import Comparison, compare
from edgekit.htmlreport.facts import Facts
from edgekit.htmlreport.gather import arena_in_use, gather, open_other
from edgekit.htmlreport.page import page

__all__ = ["Comparison", "Facts", "arena_in_use", "compare", "gather", "open_other", "page"]
