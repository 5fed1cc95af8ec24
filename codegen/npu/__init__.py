"""Layers for the accelerator: from runs of nodes to command streams (docs/ACCELERATOR.md)."""
