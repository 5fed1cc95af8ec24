"""Family ``thumb_dsp``: kernels as Thumb-2 routines for cores with the DSP extension.

One module per algorithm, found by looking into this folder; each offers ``TEMPLATES``. What is
shared: `routine` (instructions, loops and their cost), `as_c` (the same on a host).
"""
