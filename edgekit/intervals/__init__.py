"""What values an integer graph can hold, and graphs without the channels that hold one value."""

from edgekit.intervals.constant_channels import remove_constant_channels
from edgekit.intervals.propagate import Intervals, intervals

__all__ = ["Intervals", "intervals", "remove_constant_channels"]
