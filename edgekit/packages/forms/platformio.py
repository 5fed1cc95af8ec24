"""PlatformIO: a library with library.json, and a project that runs the example."""

from __future__ import annotations

import json

from edgekit.packages import common
from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill
from edgekit.packages.example import check_files
from edgekit.packages.forms.arduino import sketch_text

TITLE = "PlatformIO library"
LONGEST_NAME = 50

#: A common board with each CPU: PlatformIO's platform and its name there.
_BOARDS = {
    "cortex-m0": ("nordicnrf51", "bbcmicrobit"),
    "cortex-m0plus": ("raspberrypi", "pico"),
    "cortex-m3": ("ststm32", "nucleo_f103rb"),
    "cortex-m4": ("ststm32", "nucleo_f446re"),
    "cortex-m7": ("teensy", "teensy41"),
    "cortex-m33": ("ststm32", "nucleo_l552ze_q"),
    "riscv32": ("espressif32", "esp32-c3-devkitm-1"),
    "riscv32imc": ("espressif32", "esp32-c3-devkitm-1"),
}
_ANY = _BOARDS["cortex-m4"]


def files(contents: Contents) -> dict[str, bytes]:
    """The library, as ``pio pkg pack`` takes it."""
    example = f"examples/{contents.name}_check"
    platform, board = _BOARDS.get(contents.target.name, _ANY)
    values = {**common.names(contents), "platform": platform, "board": board}
    steps = fill("platformio/README.md", **values)
    sources = {
        **check_files(contents),
        "main.cpp": sketch_text(contents, "#include <Arduino.h>\n\n").encode(),
    }
    return {
        **common.papers(contents, "platformio", TITLE, steps),
        "library.json": _manifest(contents, example, list(sources)).encode(),
        **common.source_files(contents),
        **common.below(f"{example}/src", sources),
        f"{example}/platformio.ini": fill("platformio/platformio.ini", **values).encode(),
    }


def _manifest(contents: Contents, example: str, sources: list[str]) -> str:
    manifest = {
        "name": contents.name,
        "version": contents.version,
        "description": f"The neural network of {contents.files}, compiled for the "
        f"{contents.target.name}",
        "keywords": ["neural network", "inference", "tinyml", "edgekit"],
        "license": "Apache-2.0",
        "authors": [{"name": contents.about.author}],
        "homepage": contents.about.url,
        "frameworks": "*",
        "platforms": "*",
        "headers": list(contents.public),
        "examples": [
            {
                "name": f"{contents.name}_check",
                "base": example,
                "files": ["platformio.ini", *(f"src/{name}" for name in sources)],
            }
        ],
        # float32 is the same on every core only where products and sums are rounded one by one.
        "build": {"flags": ["-ffp-contract=off"]},
    }
    return json.dumps(manifest, indent=2) + "\n"
