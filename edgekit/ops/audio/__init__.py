"""Signal processing behind the operator `audio_features`: settings, tables, real and integer form.

docs/SPEC.md, "Signal processing", is this folder in words.
"""
