"""Models over a window of time, as models that take a few steps of time in each call."""

from edgekit.streaming.stream import Hop, parse_hop, stream

__all__ = ["Hop", "parse_hop", "stream"]
