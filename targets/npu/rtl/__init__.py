"""The accelerator's hardware in Amaranth."""
