"""Every route that is called proven: byte for byte, corruption caught, a cut told and repaired."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from devices.peers import Peer, Proof, proofs, write_elf
from tools import need

from edgekit.devices.firmware.image import load_program
from edgekit.devices.flash import FlashReport, flash
from edgekit.devices.routes import find_route
from edgekit.errors import EdgekitError

PROOFS = [(proof, variant) for proof in proofs() for variant in proof.variants]


@pytest.mark.parametrize(
    ("proof", "variant"), PROOFS, ids=lambda x: x if isinstance(x, str) else x.name or x.route
)
def test_proof(proof: Proof, variant: str, tmp_path: Path) -> None:
    need(*proof.commands)
    (tmp_path / "peer").mkdir()
    with proof.start(tmp_path / "peer", variant) as peer:
        if proof.program:
            elf = proof.program(peer.board)
            segments = list(load_program(elf, peer.board).segments)
        else:
            segments = proof.segments(peer.board)
            elf = write_elf(tmp_path / "program.elf", segments)
        if variant != "whole":
            with pytest.raises(EdgekitError) as caught:
                flash(peer.board, elf, access=peer.access)
            check(caught.value, proof, variant)
            peer.mend()
        report = flash(peer.board, elf, access=peer.access)
        check_whole(peer, proof, segments, report)


def check(error: EdgekitError, proof: Proof, variant: str) -> None:
    if variant == "corrupted":
        assert error.code in proof.caught, str(error)
        return
    assert error.code == "E604", str(error)
    told = re.search(r"(\d+) of (\d+) B were written, (\d+) of \d+ B read back", error.message)
    assert told and "incomplete" in error.message, str(error)
    assert int(told[1]) < int(told[2]) or int(told[3]) < int(told[2])


def check_whole(
    peer: Peer, proof: Proof, segments: list[tuple[int, bytes]], report: FlashReport
) -> None:
    for address, data in segments:
        assert peer.content(address, len(data)) == data
    assert report.verified == report.bytes == sum(len(data) for _, data in segments)
    assert report.route == proof.route and report.proven == find_route(proof.route).proven
    assert "not proven" not in report.proven
