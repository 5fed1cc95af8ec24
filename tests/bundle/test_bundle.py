"""model.ekb on the host: what is written is read back, and nothing else is read at all."""

from __future__ import annotations

import os
import random
import struct
import subprocess
import sys
from dataclasses import replace

import pytest
from bundles import TINY, Wrong, bundles, reseal, wrong_bundles
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pace import every

from edgekit.bundle import FORMAT_VERSION, Bundle, read_bundle, write_bundle
from edgekit.bundle.model import FOOTER_BYTES
from edgekit.errors import EdgekitError
from edgekit.output import BUNDLE, Output


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(bundles())
def test_round_trip(bundle: Bundle) -> None:
    data = write_bundle(bundle)
    assert read_bundle(data) == bundle
    assert write_bundle(read_bundle(data)) == data


def test_the_digits_bundle_comes_back(digits: Output) -> None:
    data = (digits.path / BUNDLE).read_bytes()
    bundle = read_bundle(data)
    assert write_bundle(bundle) == data
    assert bundle.hash.hex() == digits.description["hash"]


def test_scales_count_as_the_float32_that_the_file_holds() -> None:
    tenth = replace(TINY, inputs=(replace(TINY.inputs[0], scale=0.1),))
    (stored,) = struct.unpack("<f", struct.pack("<f", 0.1))
    read = read_bundle(write_bundle(tenth))
    assert read.inputs[0].scale == stored
    assert read.hash == tenth.hash


def test_the_hash_tells_inputs_from_outputs() -> None:
    moved = replace(TINY, inputs=(*TINY.inputs, *TINY.outputs), outputs=(), golden=())
    assert moved.hash != TINY.hash
    assert replace(TINY, name="other", layers=TINY.layers[::-1]).hash == TINY.hash


def test_the_same_bytes_in_every_process() -> None:
    code = "from bundles import TINY; from edgekit.bundle import write_bundle as w;"
    code += "import hashlib; print(hashlib.sha256(w(TINY)).hexdigest())"
    found = set()
    for seed in ("0", "1", "4711"):
        environment = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        found.add(done.stdout)
    assert len(found) == 1
    assert write_bundle(TINY) == write_bundle(TINY)


def refused(data: bytes) -> str:
    with pytest.raises(EdgekitError) as caught:
        read_bundle(data)
    return caught.value.code


def test_every_truncation_is_refused(digits: Output) -> None:
    data = (digits.path / BUNDLE).read_bytes()
    codes = {refused(data[:n]) for n in range(len(data))}
    assert codes == {"E401", "E402"}
    assert refused(data + b"\0") == refused(data + data) == "E402"


def test_every_flipped_bit_is_refused(digits: Output) -> None:
    data = bytearray((digits.path / BUNDLE).read_bytes())
    codes = set()
    for i in range(len(data)):
        for bit in range(8):
            data[i] ^= 1 << bit
            try:
                read_bundle(bytes(data))
                pytest.fail(f"bit {bit} of byte {i} does not matter")
            except EdgekitError as error:
                codes.add(error.code)
            data[i] ^= 1 << bit
    assert codes == {"E401", "E402", "E403", "E404"}


def test_one_version_does_not_become_another_by_a_flipped_bit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("edgekit.bundle.reader.FORMAT_VERSION", 3)
    data = bytearray(write_bundle(replace(TINY, format_version=2)))
    assert read_bundle(bytes(data)).format_version == 2
    data[-FOOTER_BYTES + 4] ^= 1
    assert refused(bytes(data)) == "E404"


@pytest.mark.parametrize("version", [0, FORMAT_VERSION + 1, 2**32 - 1])
def test_other_formats_are_named(version: int) -> None:
    with pytest.raises(EdgekitError, match=f"format {version}, this edgekit reads") as caught:
        read_bundle(reseal(write_bundle(TINY), version), "x.ekb")
    assert caught.value.code == "E403"


@settings(deadline=None)
@given(st.binary(max_size=200), st.binary(max_size=200))
def test_garbage(head: bytes, tail: bytes) -> None:
    assert refused(head) in {"E401", "E402"}
    assert refused(head[:4].ljust(4) + b"EKB1" + tail) == "E402"
    sealed = reseal(head[:4].ljust(4) + b"EKB1" + tail + bytes(FOOTER_BYTES))
    assert refused(sealed) == "E405"


@pytest.mark.parametrize("wrong", wrong_bundles(), ids=lambda w: w.name)
def test_contradictions(wrong: Wrong) -> None:
    """`?` marks what flatbuffers reads past: all that counts is that nothing else is raised."""
    if wrong.host == "?":
        try:
            read_bundle(wrong.data)
        except EdgekitError as error:
            assert error.code == "E405"
    elif wrong.host:
        assert refused(wrong.data) == wrong.host
    else:
        read_bundle(wrong.data)


@pytest.mark.parametrize("which", every(2, ["tiny", "digits"]))
def test_corruption_under_a_right_checksum(which: str, digits: Output) -> None:
    """Read or refused; never any other exception. What is read keeps its hash."""
    original = write_bundle(TINY) if which == "tiny" else (digits.path / BUNDLE).read_bytes()
    chance = random.Random(which)
    refusals = 0
    for _ in range(6000 if which == "tiny" else 1500):
        data = bytearray(original)
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            at = chance.randrange(8, len(data) - FOOTER_BYTES)
            data[at] = chance.choice((0, 1, 4, 0x7F, 0x80, 0xFF, chance.randrange(256)))
        try:
            read_bundle(reseal(bytes(data)))
        except EdgekitError as error:
            assert error.code == "E405"
            refusals += 1
    assert refusals > 500
