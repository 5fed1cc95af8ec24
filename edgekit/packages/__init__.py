"""A compiled model as a package of somebody else's build system.

    form = find_form("cmake")
    contents = read_contents(Path("out/digits"), mode="aot")
    write_package(Path("digits-cmake"), form, contents)

A form is one file in `edgekit.packages.forms`: a function from `Contents` (what the model brings,
by role) to files by relative path. Which forms there are is read from that folder; how each was
checked is said once, in `edgekit.packages.labels`.
"""

from edgekit.devices.firmware.model import MODES
from edgekit.packages.contents import About, Contents, Model
from edgekit.packages.reading import read_contents
from edgekit.packages.registry import FORMS, Form, find_form
from edgekit.packages.writing import MARKER, Written, write_package

__all__ = [
    "FORMS",
    "MARKER",
    "MODES",
    "About",
    "Contents",
    "Form",
    "Model",
    "Written",
    "find_form",
    "read_contents",
    "write_package",
]
