"""Routes are tested without the pauses that hardware needs."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from serial.urlhandler import protocol_socket

from edgekit.devices import flash as flashing
from edgekit.devices.clients import an3155
from edgekit.devices.routes import uf2


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flashing, "PAUSE", 0)
    monkeypatch.setattr(an3155, "QUIET", 0.05)
    monkeypatch.setattr(an3155, "QUIET_BURST", 0.02)
    monkeypatch.setattr(uf2, "RESTART", 1.5)
    # pyserial waits 0.3 s after closing a socket.
    clock = {name: getattr(time, name) for name in ("monotonic", "time", "perf_counter")}
    monkeypatch.setattr(
        protocol_socket, "time", SimpleNamespace(sleep=lambda _seconds: None, **clock)
    )
