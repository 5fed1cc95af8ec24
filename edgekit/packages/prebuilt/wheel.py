"""A wheel for Linux: the library of one architecture and the module that calls it.

Format: packaging.python.org, "Binary distribution format" and "Platform compatibility tags". The
library stands on no libc, so that it runs with any glibc (manylinux) and with musl (musllinux).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping

from edgekit.errors import EdgekitError
from edgekit.packages.ctext import fill
from edgekit.packages.libraries import Libraries, papers

TITLE = "Python wheel"
ARCHIVES = (".whl",)
ARCHIVE_ROOT = True
ARCHIVE_ONLY = True

#: What Python calls the architectures.
_MACHINES = {"aarch64": "aarch64", "arm": "armv7l", "x86_64": "x86_64"}
_SYSTEMS = ("manylinux_2_17", "manylinux2014", "musllinux_1_1")


def archive_name(libraries: Libraries) -> str:
    """``NAME-VERSION-py3-none-PLATFORM.whl``."""
    return f"{_stem(libraries)}-py3-none-{'.'.join(platforms(libraries))}.whl"


def platforms(libraries: Libraries) -> list[str]:
    """The platform tags that the wheel is for.

    Raises:
        EdgekitError: E727 where there are libraries for several architectures.
    """
    found = [built.architecture for built in libraries.built]
    if len(found) > 1:
        raise EdgekitError(
            "E727",
            f"'{libraries.name}' has libraries for {' and '.join(found)}, a wheel is for one",
            help="make one for each: edgekit export with the folders of one architecture",
        )
    return [f"{system}_{_MACHINES[found[0]]}" for system in _SYSTEMS]


def files(libraries: Libraries) -> dict[str, bytes]:
    """The wheel's files, but for RECORD, by path."""
    (built,), module = libraries.built, module_name(libraries)
    info = info_folder(libraries)
    values = {**libraries.names, "distribution": _distribution(libraries), "module": module,
              "url": libraries.contents.about.url, "author": libraries.contents.about.author,
              "wheel": archive_name(libraries),
              "python_gpu": fill("prebuilt/wheel_gpu.md") * bool(libraries.gpus)}  # fmt: skip
    paper = papers(libraries, "wheel", TITLE, fill("prebuilt/wheel.md", **values))
    metadata = fill("prebuilt/METADATA", **values) + "\n" + paper["README.md"].decode()
    tags = "".join(f"Tag: py3-none-{platform}\n" for platform in platforms(libraries))
    return {
        f"{module}/__init__.py": built.files[f"{module}.py"],
        f"{module}/lib{libraries.name}.so": built.files[f"lib{libraries.name}.so"],
        f"{module}/libek_pool.so": built.files["libek_pool.so"],
        f"{info}METADATA": metadata.encode(),
        f"{info}WHEEL": (
            f"Wheel-Version: 1.0\nGenerator: edgekit {libraries.edgekit}\n"
            f"Root-Is-Purelib: false\n{tags}"
        ).encode(),
        f"{info}licenses/LICENSE": paper["LICENSE"],
        f"{info}licenses/NOTICE": paper["NOTICE"],
    }


def seal(libraries: Libraries, found: Mapping[str, bytes]) -> dict[str, bytes]:
    """RECORD: the hashes and sizes of all files."""
    path = f"{info_folder(libraries)}RECORD"
    lines = [f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in sorted(found.items())]
    return {path: ("".join(lines) + f"{path},,\n").encode()}


def info_folder(libraries: Libraries) -> str:
    """``NAME-VERSION.dist-info/``."""
    return f"{_stem(libraries)}.dist-info/"


def module_name(libraries: Libraries) -> str:
    """What programs import."""
    (module,) = (name for name in libraries.built[0].files if name.endswith(".py"))
    return module.removesuffix(".py")


def _distribution(libraries: Libraries) -> str:
    """The distribution's name; underscores at its ends, which C takes, are not allowed."""
    return re.sub(r"[-_.]+", "-", libraries.name).strip("-").lower() or "model"


def _stem(libraries: Libraries) -> str:
    return f"{_distribution(libraries).replace('-', '_')}-{libraries.version}"


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
