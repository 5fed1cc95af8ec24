"""Arduino: a library of the 1.5 format, which Arduino's tools compile file by file."""

from __future__ import annotations

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import check_files

TITLE = "Arduino library"


def files(contents: Contents) -> dict[str, bytes]:
    """The library; everything under ``src/`` is compiled with ``src/`` as its only include."""
    sketch = f"examples/{contents.name}_check"
    return {
        **common.papers(contents, "arduino", TITLE, fill("arduino/README.md", **_values(contents))),
        "library.properties": fill("arduino/library.properties", **_values(contents)).encode(),
        "keywords.txt": _keywords(contents).encode(),
        **common.source_files(contents),
        **common.below(sketch, check_files(contents)),
        f"{sketch}/{contents.name}_check.ino": sketch_text(contents, "").encode(),
    }


def sketch_text(contents: Contents, include: str) -> str:
    """The example in Arduino's C++; `include` is a line that its own tools add by themselves."""
    return fill("arduino/example.ino", **_values(contents), include_arduino=include)


def _values(contents: Contents) -> dict[str, object]:
    return {
        **common.names(contents),
        **common.sizes(contents),
        "author": contents.about.author,
        "url": contents.about.url,
    }


def _keywords(contents: Contents) -> str:
    """What the editor colours: fields are parted by one tab."""
    words = ("invoke", "run", "reset", "input", "output", "state")
    functions = [f"{model.name}_{word}" for model in contents.models for word in words]
    if contents.mode == "interpreter":
        functions = ["ek_open", *(f"ek_{word}" for word in words if word != "run")]
    sizes = [f"{m.upper}_{w}_BYTES" for m in contents.models for w in ("INPUT", "OUTPUT")]
    rows = [f"{word}\tKEYWORD2" for word in functions] + [f"{word}\tLITERAL1" for word in sizes]
    return "\n".join(rows) + "\n"
