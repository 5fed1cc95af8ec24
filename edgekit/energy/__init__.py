"""Energy per layer, from a profile and the trace of a power analyser that saw the trigger pin.

docs/PROFILING.md has the wiring, the signal and what limits the figures.
"""

from edgekit.energy.account import Energy, LayerEnergy, energy
from edgekit.energy.edges import Timing, find_runs
from edgekit.energy.trace_file import Columns, PowerTrace, read_trace

__all__ = [
    "Columns",
    "Energy",
    "LayerEnergy",
    "PowerTrace",
    "Timing",
    "energy",
    "find_runs",
    "read_trace",
]
