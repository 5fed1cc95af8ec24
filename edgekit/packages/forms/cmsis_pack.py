"""CMSIS-Pack: a software component described by a .pdsc file, for Arm CPUs."""

from __future__ import annotations

from xml.etree import ElementTree as xml

from edgekit.errors import EdgekitError
from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import check_files

TITLE = "CMSIS-Pack"
ARCHIVES = (".pack",)
ARCHIVE_ROOT = True
#: Of Csub in the schema.
LONGEST_NAME = 32

_VENDOR = "edgekit"
_SCHEMA = "1.7.32"
#: `Dcore` of the schema, by target.
_CORES = {
    "cortex-m0": "Cortex-M0",
    "cortex-m0plus": "Cortex-M0+",
    "cortex-m3": "Cortex-M3",
    "cortex-m4": "Cortex-M4",
    "cortex-m7": "Cortex-M7",
    "cortex-m33": "Cortex-M33",
    "cortex-m55": "Cortex-M55",
}


def archive_name(contents: Contents) -> str:
    """What tools want the file to be called: vendor, name and version."""
    return f"{_VENDOR}.{contents.name}.{contents.version}.pack"


def files(contents: Contents) -> dict[str, bytes]:
    """The pack, unpacked.

    Raises:
        EdgekitError: E726 for a CPU that CMSIS does not know.
    """
    core = _CORES.get(contents.target.name)
    if core is None:
        raise EdgekitError(
            "E726",
            f"'{contents.name}' was compiled for the {contents.target.name}; --as cmsis-pack is "
            f"for {', '.join(_CORES)}",
            help="choose another --as, or compile for one of these",
        )
    pdsc = f"{_VENDOR}.{contents.name}.pdsc"
    values = {**common.names(contents), "pack": archive_name(contents), "pdsc": pdsc, "core": core}
    template = {
        **check_files(contents),
        "main.c": fill("cmsis_pack/main.c", **values).encode(),
    }
    return {
        **common.papers(contents, "cmsis-pack", TITLE, fill("cmsis_pack/README.md", **values)),
        pdsc: _description(contents, core, [f"template/{name}" for name in template]),
        **common.source_files(contents),
        **common.below("template", template),
    }


def _description(contents: Contents, core: str, templates: list[str]) -> bytes:
    root = xml.Element(
        "package",
        {
            "schemaVersion": _SCHEMA,
            "xmlns:xs": "http://www.w3.org/2001/XMLSchema-instance",
            "xs:noNamespaceSchemaLocation": "PACK.xsd",
        },
    )

    what = f"The neural network of {contents.files}, compiled by edgekit for the {core}"
    _add(root, "vendor", _VENDOR)
    _add(root, "name", contents.name)
    _add(root, "description", what)
    _add(root, "url", contents.about.url)
    _add(root, "license", "LICENSE")
    releases = _add(root, "releases")
    hashes = ", ".join(model.bundle.hash.hex() for model in contents.models)
    note = f"Compiled by edgekit {contents.edgekit}, hash {hashes}"
    _add(releases, "release", note, version=contents.version)
    keywords = _add(root, "keywords")
    for word in ("neural network", "inference", "edgekit"):
        _add(keywords, "keyword", word)
    _add(_add(_add(root, "requirements"), "languages"), "language", name="C", version="99")
    _conditions(_add(root, "conditions"), core)
    component = _add(
        _add(root, "components"),
        "component",
        Cvendor=_VENDOR,
        Cclass="Machine Learning",
        Cgroup="edgekit",
        Csub=contents.name,
        Cversion=contents.version,
        condition="CPU and compiler",
    )
    _add(component, "description", what)
    listed = _add(component, "files")
    _add(listed, "file", category="doc", name="README.md")
    _add(listed, "file", category="include", name="src/")
    for header in contents.public:
        _add(listed, "file", category="header", name=f"src/{header}")
    for name in contents.sources:
        language = "asm" if name.endswith(".S") else "c"
        _add(listed, "file", category="source", language=language, name=f"src/{name}")
    for name in templates:
        _add(
            listed,
            "file",
            category="header" if name.endswith(".h") else "source",
            attr="template",
            select=f"Check one inference of {contents.name}",
            name=name,
        )
    xml.indent(root)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + xml.tostring(root) + b"\n"


def _add(parent: xml.Element, tag: str, text: str = "", **attributes: str) -> xml.Element:
    element = xml.SubElement(parent, tag, attributes)
    element.text = text or None
    return element


def _conditions(parent: xml.Element, core: str) -> None:
    compilers = _add(parent, "condition", id="Compiler")
    _add(compilers, "description", "Compilers that know GCC's attributes and assembler syntax")
    _add(compilers, "accept", Tcompiler="GCC")
    _add(compilers, "accept", Tcompiler="CLANG")
    _add(compilers, "accept", Tcompiler="ARMCC", Toptions="AC6")
    both = _add(parent, "condition", id="CPU and compiler")
    _add(both, "description", f"The kernels were chosen for the {core}")
    _add(both, "require", Dcore=core)
    _add(both, "require", condition="Compiler")
