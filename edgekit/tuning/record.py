"""What has been measured of a model on a device, in a file that grows with every measurement."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit.devices.gpu import Gpu
from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import write_atomic

VERSION = 1
FOLDER = "tuning"


@dataclass(frozen=True)
class Measured:
    """The fastest run in ns; what was wrong instead, "" where the bytes were right."""

    ns: int
    wrong: str = ""


@dataclass
class Record:
    """Measurements by candidate: ``"NAME: KEY"``."""

    path: Path
    device: str
    driver: str
    is_cpu: bool
    bundle: str
    measured: dict[str, Measured] = field(default_factory=dict)

    def add(self, key: str, found: Measured) -> None:
        """Keep it, in the file too.

        Raises:
            EdgekitError: E704 where the file cannot be written.
        """
        self.measured[key] = found
        self.save()

    def forget(self, key: str) -> None:
        """Have it measured again."""
        del self.measured[key]
        self.save()

    def save(self) -> None:
        body = {
            "version": VERSION,
            "device": self.device,
            "driver": self.driver,
            "is_cpu": self.is_cpu,
            "bundle": self.bundle,
            "measured": {k: [m.ns, m.wrong] for k, m in self.measured.items()},
        }
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(self.path, (json.dumps(body, indent=1) + "\n").encode())
        except OSError as error:
            raise EdgekitError(
                "E704", f"cannot write '{self.path}': {error.strerror or error}",
                help="check the folder",
            ) from None  # fmt: skip


def record_path(folder: Path, gpu: Gpu) -> Path:
    """Where the measurements of a device are kept beside the bundle."""
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{gpu.device} {gpu.driver}").strip("-")
    return folder / FOLDER / f"{name}.json"


def open_record(path: Path, gpu: Gpu, bundle: str, *, restart: bool = False) -> Record:
    """The record of this device, driver and bundle: what the file has, or nothing yet.

    Raises:
        EdgekitError: E382 where the file is damaged, which is not overwritten unasked.
    """
    record = Record(path, gpu.device, gpu.driver, gpu.is_cpu, bundle)
    if restart or not path.exists():
        return record
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        known = {str(k): Measured(int(ns), str(wrong)) for k, (ns, wrong) in _items(body)}
        same = (body["version"], body["device"], body["driver"], body["bundle"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise EdgekitError(
            "E382",
            f"'{path}' is no record of measurements: {error}",
            help="--restart measures everything again and replaces it",
        ) from None
    # Other kernels or another driver: nothing of it is true any more.
    if same == (VERSION, gpu.device, gpu.driver, bundle):
        record.measured = known
    return record


def _items(body: Any) -> list[tuple[str, Any]]:
    return list(body["measured"].items())
