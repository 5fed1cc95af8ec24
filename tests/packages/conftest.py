"""Packages of the digits sample: for the Cortex-M4 that all tests share, and for RISC-V."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit import pipeline
from edgekit.output import Output
from edgekit.packages import find_form, read_contents, write_package
from samples.digits import CALIBRATION, MODEL

Packer = Callable[..., Path]


@pytest.fixture(scope="session")
def riscv_digits(tmp_path_factory: pytest.TempPathFactory) -> Output:
    """The digits model compiled for RISC-V."""
    folder = tmp_path_factory.mktemp("riscv") / "digits"
    return pipeline.compile(MODEL, output=folder, target="riscv32", calibration=CALIBRATION).output


@pytest.fixture
def pack(request: pytest.FixtureRequest, tmp_path: Path) -> Packer:
    """Writes a package of the digits sample: ``pack(form, mode, place)`` gives its folder."""

    def write(form: str, mode: str = "aot", place: str = "host", to: str = "") -> Path:
        output = request.getfixturevalue("riscv_digits" if place == "riscv32" else "digits")
        return write_package(
            tmp_path / (to or f"{form}-{mode}"), find_form(form), read_contents(output.path, mode)
        ).path

    return write
