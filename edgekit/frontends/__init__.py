"""Models of other frameworks, brought to ONNX or TFLite by the frameworks' own converters.

A file is recognised by its content. What is safe to open is decided here, without the framework
(`archive`, `pt2`, `keras_file`); the framework then runs in a process of its own with limits of
time and memory (`convert`), so that neither its messages nor its crashes reach the user.

Errors, all `EdgekitError`:

    E160  the framework is not installed       E163  the converter took too long or too much memory
    E161  the file can run code                E164  a damaged archive, or one of absurd size
    E162  the converter refused the model      E165  torch.export refused the module
"""

from __future__ import annotations

from edgekit.frontends.recognise import Kind, recognise

__all__ = ["Kind", "recognise"]
