"""Linux: shared and static library, header, and what find_package of CMake reads."""

from __future__ import annotations

from edgekit.packages.common import below
from edgekit.packages.ctext import fill
from edgekit.packages.libraries import Libraries, example_files, papers

TITLE = "Library for programs under Linux"


def files(libraries: Libraries) -> dict[str, bytes]:
    """``lib/ARCHITECTURE`` and ``include/ARCHITECTURE`` for each, CMake's files, an example."""
    name, values = libraries.name, libraries.names
    # NAME_gpu_open calls dlopen, which older versions of glibc have in a library of its own.
    values["dl"] = '\n  INTERFACE_LINK_LIBRARIES "${CMAKE_DL_LIBS}"' if libraries.gpus else ""
    config = f"lib/cmake/{name}"
    found = {
        **papers(libraries, "linux", TITLE, fill("prebuilt/linux.md", **values)),
        f"{config}/{name}-config.cmake": fill("prebuilt/config.cmake", **values).encode(),
        f"{config}/{name}-config-version.cmake": fill("prebuilt/version.cmake", **values).encode(),
        **below("pool", libraries.pool),
        **below("example", example_files(libraries)),
        "example/CMakeLists.txt": fill("prebuilt/example.txt", **values).encode(),
    }
    for built in libraries.built:
        for library in (f"lib{name}.so", f"lib{name}.a"):
            found[f"lib/{built.architecture}/{library}"] = built.files[library]
        # An instance's size is the architecture's own.
        found[f"include/{built.architecture}/{name}.h"] = libraries.header_of(built)
    return found
