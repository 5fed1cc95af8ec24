"""Layers run stripe by stripe: the same integers, on the reference, the host and the virtual M4."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from built import M4, run_host, run_m4
from hypothesis import given, settings
from hypothesis import strategies as st
from integer_graphs import network
from shared import needs_shared, shared_model

from codegen import memory_check
from codegen.program import build_program
from codegen.stripes import NotStripable, chain, recomputed, stripe
from edgekit import importers, reference
