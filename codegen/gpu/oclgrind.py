"""Variants in Oclgrind: what a device never says about races, bounds and unset memory.

Each launch runs by itself in ``oclgrind-kernel``, which interprets the function item by item. Every
buffer has exactly its bytes, so that one byte beyond is an invalid access. Oclgrind's exit status
says nothing about findings: they are read from what it writes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from codegen.gpu.kernel import Launch, Place, Variant

COMMAND = "oclgrind-kernel"
#: What outputs hold before a launch; a kernel must write all of them.
STALE = 0xA5
#: Beginnings of lines that are no findings.
QUIET = ("Argument ", "\t", " ")
#: A launch of a small layer; one of a large layer has `LARGE_TIMEOUT_S`.
TIMEOUT_S, LARGE_TIMEOUT_S = 60, 600
OPTIONS = "-cl-std=CL1.2"
#: As the text has it: the check for unset memory of Oclgrind 21.10 crashes on what optimization
#: makes of vectors.
UNSET = ("--uninitialized", "-cl-opt-disable")


class OclgrindError(Exception):
    """Oclgrind could not run a function: it does not compile, or a call is unknown."""


@dataclass(frozen=True)
class Checked:
    """`findings` are Oclgrind's headlines, each once; `outputs` the bytes after the last launch."""

    findings: tuple[str, ...]
    outputs: tuple[np.ndarray, ...]


def available() -> bool:
    return shutil.which(COMMAND) is not None


def check(
    variant: Variant,
    prelude: str,
    inputs: list[np.ndarray],
    output_bytes: list[int],
    folder: Path,
) -> Checked:
    """Run a variant's launches one after the other.

    Args:
        prelude: text in front of every function.
        inputs: the layer's inputs as they lie on a device, flat.
        output_bytes: bytes of its outputs, with gaps.
        folder: where files are written.

    Raises:
        OclgrindError: where a function does not compile.
    """
    memory: dict[tuple[str, int, str], np.ndarray] = {}
    for i, array in enumerate(inputs):
        memory["input", i, ""] = _bytes(array)
    for i, count in enumerate(output_bytes):
        memory["output", i, ""] = np.full(count, STALE, np.uint8)
    for name, array in variant.constants.items():
        memory["constant", 0, name] = _bytes(array)
    #: Scratch has no content until a launch has written it.
    unset = {("scratch", 0, name): count for name, count in variant.scratch.items()}
    findings: list[str] = []
    for number, launch in enumerate(variant.launches):
        text = _run(launch, prelude, memory, unset, folder / f"launch{number}")
        findings += _findings(text)
        for place, array in _dumped(text, launch).items():
            memory[place] = array
            unset.pop(place, None)
    outputs = tuple(memory["output", i, ""] for i in range(len(output_bytes)))
    return Checked(tuple(dict.fromkeys(findings)), outputs)


def check_ends(
    variant: Variant,
    launch: Launch,
    prelude: str,
    inputs: list[np.ndarray],
    output_bytes: list[int],
    folder: Path,
    *,
    unset: bool = False,
) -> tuple[str, ...]:
    """Findings of the first and the last group of one launch of a large layer.

    They are those that reach both ends of every buffer; scratch is filled, since the groups that
    would have written it do not run.

    Args:
        variant: of which `launch` is one.
        unset: look for memory that nobody set, too, in text that is not optimized: eight times as
            slow.

    Raises:
        OclgrindError: as `check`.
    """
    memory: dict[tuple[str, int, str], np.ndarray] = {}
    for place in launch.arguments:
        key = _key(place)
        if place.kind == "input":
            memory[key] = _bytes(inputs[place.index])
        elif place.kind == "constant":
            memory[key] = _bytes(variant.constants[place.name])
        else:
            outputs = place.kind == "output"
            count = output_bytes[place.index] if outputs else variant.scratch[place.name]
            memory[key] = np.full(count, STALE, np.uint8)
    text = _run(launch, prelude, memory, {}, folder / "launch", unset_memory=unset, ends=True)
    return tuple(dict.fromkeys(_findings(text)))


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8)


def _run(
    launch: Launch,
    prelude: str,
    memory: Mapping[tuple[str, int, str], np.ndarray],
    unset: Mapping[tuple[str, int, str], int],
    stem: Path,
    *,
    unset_memory: bool = True,
    ends: bool = False,
) -> str:
    stem.parent.mkdir(parents=True, exist_ok=True)
    source = stem.with_suffix(".cl")
    source.write_text(prelude + launch.function.text)
    sizes = [" ".join(map(str, size)) for size in (launch.global_size, launch.local_size)]
    lines = [str(source), launch.function.name, *sizes]
    for place in launch.arguments:
        key = _key(place)
        dump = " dump" if place.kind in ("output", "scratch") and not ends else ""
        if key in unset:
            lines += ["", f"<size={unset[key]} uchar noinit{dump}>"]
        else:
            data = memory[key]
            lines += ["", f"<size={data.size} uchar hex{dump}>", data.tobytes().hex(" ")]
    sim = stem.with_suffix(".sim")
    sim.write_text("\n".join(lines) + "\n")
    check, options = UNSET if unset_memory else ("", "")
    flags = ["--data-races", *[check] * unset_memory, *["--quick"] * ends]
    seconds = LARGE_TIMEOUT_S if ends else TIMEOUT_S
    try:
        done = _interpreted(sim, flags, f"{OPTIONS} {options}".strip(), seconds)
    except subprocess.TimeoutExpired as slow:
        raise OclgrindError(f"{launch.function.name}: not done after {seconds} s") from slow
    if done.returncode or "Unable to" in done.stderr or "FATAL" in done.stderr:
        said = (done.stderr or done.stdout).strip()[:2000]
        raise OclgrindError(f"{launch.function.name}: status {done.returncode}: {said}")
    return done.stderr + done.stdout


def _interpreted(
    sim: Path, flags: list[str], options: str, seconds: int
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *flags, "--num-threads", "1", "--build-options", options, str(sim)],
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def _findings(text: str) -> list[str]:
    """Headlines of reports: lines at the margin that are not a dump."""
    found = []
    for line in text.splitlines():
        if line.strip() and not line.startswith(QUIET):
            found.append(re.sub(r"0x[0-9a-f]+", "0x…", line.strip()))
    return found


def _dumped(text: str, launch: Launch) -> dict[tuple[str, int, str], np.ndarray]:
    """Buffers after the launch, in the order of its arguments."""
    written = [p for p in launch.arguments if p.kind in ("output", "scratch")]
    blocks = re.split(r"^Argument '[^']*': \d+ bytes$", text, flags=re.MULTILINE)[1:]
    if len(blocks) != len(written):
        raise OclgrindError(f"{len(blocks)} buffers dumped, {len(written)} were asked for")
    # In the base that the argument was given in.
    values = [
        np.array([int(v, 0) for v in re.findall(r"\] = (\w+)$", b, re.MULTILINE)], np.uint8)
        for b in blocks
    ]
    return {_key(p): v for p, v in zip(written, values, strict=True)}


def _key(place: Place) -> tuple[str, int, str]:
    return (place.kind, place.index, place.name)
