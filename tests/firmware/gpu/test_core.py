"""The GPU runtime's core under sanitizers, on a device that does as it is told."""

from __future__ import annotations

import os
import random
import re
import subprocess
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from bundles import TINY, reseal
from gpu_bundles import WITH_GPU, WRONG
from tools import need

from codegen.gpu.layout import blocked, pack
from edgekit.bundle import Bundle, Golden, write_bundle
from edgekit.bundle.gpu import (
    Gpu,
    GpuArgument,
    GpuFunction,
    GpuLaunch,
    GpuLayer,
    GpuSize,
    GpuTensor,
    GpuVariant,
)
from edgekit.bundle.model import FOOTER_BYTES
from edgekit.devices.firmware.build import firmware_folder
from edgekit.toolchain import host_executable

pytestmark = pytest.mark.apt
HERE = Path(__file__).parent
ROOT = firmware_folder()
W1, W2 = np.arange(16, dtype=np.int8), np.arange(16, 32, dtype=np.int8)
TEXT = b"prelude one(w) two(w) fast exact no kernel for it"


def _text(word: str) -> tuple[int, int]:
    return TEXT.index(word.encode()), len(word)


#: Both layers of the tiny bundle on the device: the first in two variants, the second in one.
GPU = Gpu(
    text=TEXT,
    functions=tuple(
        GpuFunction(*_text(name), *_text(source), 0, 0, 64, 20)
        for name, source in (("one", "one(w)"), ("two", "two(w)"))
    ),
    arguments=(
        GpuArgument(0, 0, 16, 0), GpuArgument(1, 0, 16, 0), GpuArgument(0, 128, 16, 1),
        GpuArgument(0, 128, 16, 0), GpuArgument(1, 128, 16, 0), GpuArgument(0, 256, 16, 1),
    ),
    launches=(
        GpuLaunch(0, 0, 3, 0, 3, 16, 1, 1),
        GpuLaunch(1, 0, 3, 0, 3, 16, 1, 1),
        GpuLaunch(1, 3, 3, 0, 1, 16, 1, 1),
    ),
    sizes=(GpuSize(8, 1, 1), GpuSize(16, 1, 1), GpuSize(2, 1, 1)),
    variants=(
        GpuVariant(*_text("fast"), 0, 0, 1),
        GpuVariant(*_text("exact"), 0, 1, 1),
        GpuVariant(*_text("exact"), 0, 2, 1),
    ),
    tensors=(
        GpuTensor(1, 16, 1, 0, 16, 0, 0),
        GpuTensor(1, 16, 1, 128, 16, 16, 0),
        GpuTensor(1, 16, 1, 256, 16, 0, 0),
    ),
    operands=(0, 1, 1, 2),
    layers=(GpuLayer(0, 2, 0, 1, 1, 0, 0), GpuLayer(2, 1, 2, 1, 1, 0, 0)),
    inputs=(0,),
    outputs=(2,),
    constants=W1.tobytes() + bytes(112) + W2.tobytes(),
    arena_bytes=384,
    prelude=_text("prelude "),
)  # fmt: skip


def sample(seed: int) -> bytes:
    return np.random.default_rng(seed).integers(-128, 128, 16).astype(np.int8).tobytes()


def right(x: bytes) -> bytes:
    return (np.frombuffer(x, np.int8) + W1 + W2).astype(np.int8).tobytes()


BUNDLE = replace(
    TINY, gpu=GPU, golden=tuple(Golden((sample(s),), (right(sample(s)),)) for s in (1, 2))
)
#: The first layer alone on the device.
HALF = replace(
    BUNDLE,
    gpu=replace(
        GPU, layers=(GPU.layers[0], GPU.layers[1]._replace(
            variant_count=0, why_not=_text("no kernel for it")[0], why_not_bytes=16))
    ),
)  # fmt: skip


@cache
def program() -> Path:
    need("gcc")
    sources = [ROOT / "src" / f"ek_{name}.c" for name in ("runtime", "verify")]
    sources += [p for p in sorted((ROOT / "gpu").glob("ek_gpu*.c"))
                if "opencl" not in p.name and "vulkan" not in p.name]  # fmt: skip
    sources += [HERE.parent / "tiny_kernels.c", HERE / "fake_device.c", HERE / "run_core.c"]
    sources.append(ROOT / "linux" / "ek_system.c")
    folders = [ROOT / name for name in ("include", "src", "gpu", "linux")]
    return host_executable(sources, include=[*folders, HERE], opt="-O1",
                           flags=("-fwrapv",), sanitize=True)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """What run_core printed."""

    text: str
    said: list[str]
    layers: list[str]
    runs: list[tuple[int, bytes, int, int]]

    @property
    def statuses(self) -> list[int]:
        return [status for status, *_ in self.runs]

    @property
    def exact(self) -> bool:
        """Whether every inference gave the CPU's bytes."""
        return [y for _, y, *_ in self.runs] == [right(sample(s)) for s in range(10, 13)]


Run = Callable[..., Result]
#: run_core ends where it may, and leaves its memory to the system.
_NO_LEAKS = {"ASAN_OPTIONS": "detect_leaks=0"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run_(
        script: str = "",
        bundle: Bundle | bytes = BUNDLE,
        kept: bool = False,
        tuning: Path | str = "",
        timed: bool = False,
    ) -> Result:
        data = bundle if isinstance(bundle, bytes) else write_bundle(bundle)
        (tmp_path / "model.ekb").write_bytes(data)
        (tmp_path / "inputs").write_bytes(b"".join(map(sample, range(10, 13))))
        folder = tmp_path / "kept"
        folder.mkdir(exist_ok=True)
        command = [program(), tmp_path / "model.ekb", tmp_path / "inputs", folder if kept else "",
                   tuning, *["timed"] * timed]  # fmt: skip
        done = subprocess.run(
            command,
            env={**os.environ, "EK_FAKE": script, **_NO_LEAKS},
            capture_output=True,
            timeout=60,
        )
        text = done.stdout.decode(errors="replace")
        assert done.returncode == 0, text + done.stderr.decode(errors="replace")[:3000]
        lines = [line.split(" ", 1) for line in text.splitlines()]
        runs = [rest.split() for word, rest in lines if word == "run"]
        return Result(
            text,
            [rest for word, rest in lines if word == "said"],
            [rest for word, rest in lines if word == "layer"],
            [(int(s), bytes.fromhex(y), int(n), int(m)) for s, y, n, m in runs],
        )

    return run_


def test_all_layers_on_the_device(run: Run) -> None:
    found = run()
    assert (found.said, found.layers, found.exact) == ([], ["fast", "exact"], True)
    assert [(status, n) for status, _, n, _ in found.runs] == [(0, 2)] * 3
    # Two samples of two layers, two whole inferences, and one more each.
    assert [launches for *_, launches in found.runs] == [10, 12, 14]


def test_memory_that_is_not_shared(run: Run) -> None:
    assert run("discrete").exact


def test_times_of_layers_come_from_events(run: Run) -> None:
    assert "time 1000" in run(timed=True).text


def test_no_device(run: Run) -> None:
    found = run("none")
    assert found.exact and found.layers == ["CPU: no device"] * 2
    assert found.statuses == [0, 0, 0]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("nomemory", "the device refuses the memory that the model needs: the CPU computes"),
        ("nobuild", "the device builds nothing: the CPU computes"),
    ],
)
def test_a_device_that_can_do_nothing(run: Run, script: str, said: str) -> None:
    found = run(script)
    assert found.exact and found.said == [said] and found.runs[0][2] == 0


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("uncompiled=one(w)", "did not compile"),
        ("wrong=one(w)", "1 bytes differ"),
        ("lazy=one(w)", "16 bytes differ"),
        ("gap=one(w)", "1 bytes differ"),
        ("refuse=1", "the device refuses to run it"),
        ("limit=1", "the device refuses to run it"),
    ],
)
def test_the_next_variant_is_taken(run: Run, script: str, why: str) -> None:
    found = run(script)
    assert found.exact and found.statuses == [0, 0, 0]
    if "=1" in script:
        assert found.layers[0] == f"CPU; fast: {why}; exact: {why}"
        assert found.runs[0][2] == 0
    else:
        assert found.layers == [f"exact; fast: {why}", "exact"]
    assert found.said[0].startswith("layer 0, fast: ")
    assert found.runs[0][2] in (0, 2)


@pytest.mark.parametrize("script", ["wrong=(w)", "uncompiled=(w)", "lazy=(w)", "gap=(w)"])
def test_nothing_right_leaves_all_to_the_cpu(run: Run, script: str) -> None:
    found = run(script)
    assert found.exact and found.runs[0][2] == 0 and len(found.said) == 3
    assert all(layer.startswith("CPU; ") for layer in found.layers)


def test_the_compilers_words_are_told(run: Run) -> None:
    assert "error: no such thing" in run("uncompiled=one(w)").said[0]


@pytest.mark.parametrize("script", ["refuse=4", "limit=4"])
def test_smaller_groups_where_the_device_refuses_larger(run: Run, script: str) -> None:
    found = run(script)  # the third size has 2 items; the second layer has 8 only
    assert found.exact and found.layers[0] == "fast"
    assert found.layers[1] == "CPU; exact: the device refuses to run it"


def test_features_that_are_needed(run: Run) -> None:
    needy = replace(GPU, variants=(GPU.variants[0]._replace(needs=1), *GPU.variants[1:]))
    bundle = replace(BUNDLE, gpu=needy)
    assert run(bundle=bundle).layers[0] == "exact; fast: needs the dot product"
    assert run("features=1", bundle=bundle).layers[0] == "fast"


def test_a_layer_of_the_cpu_amid_those_of_the_device(run: Run) -> None:
    for script in ("", "discrete"):
        found = run(script, bundle=HALF)
        assert found.exact and found.layers == ["fast", "CPU: no kernel for it"]


@pytest.mark.parametrize("bundle", [BUNDLE, HALF], ids=["whole", "half"])
@pytest.mark.parametrize("what", ["die", "slow"])
@pytest.mark.parametrize("launch", range(1, 13))
def test_a_device_that_is_lost_at_any_launch(
    run: Run, what: str, launch: int, bundle: Bundle
) -> None:
    """Its bytes are right, it is said once, and the CPU goes on."""
    for extra in ("", " discrete"):
        found = run(f"{what}={launch}{extra}", bundle=bundle)
        assert found.exact
        launches = found.runs[-1][3]
        assert found.statuses.count(14) <= 1
        if launch > launches:
            assert found.statuses == [0, 0, 0]
            continue
        assert found.runs[-1][2] == 0
        assert found.said[-1] == "the device is lost: the CPU computes from now on"
        if 14 in found.statuses:
            assert found.layers[0] == "fast"


def test_what_kills_the_device_is_not_tried_again(run: Run) -> None:
    first = run("die=1", kept=True)
    assert first.layers[0].startswith("CPU: the device was lost")
    second = run(kept=True)
    assert second.exact and second.layers[0] == "exact; fast: the device was lost"


# ---- kept results


def test_results_are_kept(run: Run) -> None:
    assert run("wrong=one(w)", kept=True).said
    again = run("", kept=True)
    assert again.said == [] and again.exact
    assert again.layers[0] == "exact; fast: 1 bytes differ"
    assert "builds 1 1" in again.text  # what failed is not built again
    assert again.runs[0][3] == 4  # one whole inference, and the first


@pytest.mark.parametrize("script", ["name=another", "features=2"])
def test_results_are_of_one_device(run: Run, script: str) -> None:
    run("wrong=one(w)", kept=True)
    assert run(script, kept=True).layers[0] == "fast"


def test_results_are_of_one_bundle(run: Run) -> None:
    run("wrong=one(w)", kept=True)
    other = replace(BUNDLE, gpu=replace(GPU, spirv=b"1234"))
    assert run(bundle=other, kept=True).layers[0] == "fast"


def test_damaged_results_are_ignored_and_written_again(run: Run, tmp_path: Path) -> None:
    run("wrong=one(w)", kept=True)
    (path,) = (tmp_path / "kept").iterdir()
    good = path.read_bytes()
    chance = random.Random(5)
    for _ in range(12):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        for bad in (bytes(data), good[: chance.randrange(1, len(good))], good + b"x"):
            path.write_bytes(bad)
            found = run("wrong=one(w)", kept=True)
            assert found.exact
            assert found.said[0].startswith("the kept results of the self-test are damaged")
            assert path.read_bytes() == good
    path.write_bytes(b"")
    assert run("wrong=one(w)", kept=True).exact and path.read_bytes() == good


def test_choices_that_no_test_makes_are_ignored(run: Run, tmp_path: Path) -> None:
    """Results that claim what no test finds, under a right checksum."""
    run(kept=True)
    (path,) = (tmp_path / "kept").iterdir()
    good = path.read_bytes()
    assert zlib.crc32(good[:-4]) == int.from_bytes(good[-4:], "little")
    for at in range(len(good) - 4 - 3 - 8 - 3 * 8, len(good) - 4):
        data = bytearray(good)
        data[at] ^= 0x40
        path.write_bytes(bytes(data[:-4]) + zlib.crc32(data[:-4]).to_bytes(4, "little"))
        assert run(kept=True).exact


def test_a_driver_that_got_worse_is_tested_again(run: Run) -> None:
    run(kept=True)
    found = run("wrong=one(w)", kept=True)
    assert found.exact and found.layers[0] == "exact; fast: 1 bytes differ"
    assert found.said[0].startswith("what was right at an earlier start is not any more")


def test_a_compiler_that_got_worse_is_tested_again(run: Run) -> None:
    run(kept=True)
    found = run("uncompiled=one(w)", kept=True)
    assert found.exact and found.layers[0] == "exact; fast: did not compile"
    assert found.said[0].startswith("a function that was right does not compile any more")


def test_results_that_cannot_be_kept(run: Run, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("a file") if not (tmp_path / "kept").exists() else None
    with pytest.raises(FileExistsError):
        run(kept=True)
    (tmp_path / "kept").unlink()
    assert run(kept=True).exact


# ---- tuning files


def tuning(
    *lines: str,
    device: str = "fake device",
    driver: str = "1.0",
    bundle: bytes = BUNDLE.hash,
    first: str = "edgekit-tuning 1",
) -> str:
    head = [first, f"device {device}", f"driver {driver}", f"bundle {bundle.hex()}"]
    text = "".join(f"{line}\n" for line in [*head, *lines])
    return f"{text}end {zlib.crc32(text.encode()):08x}\n"


CHOICE = "layer 0 1 16,1,1 exact"


def test_a_tuning_file_chooses(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tuning"
    path.write_text(tuning(CHOICE))
    found = run(tuning=path)
    assert (found.said, found.layers, found.exact) == ([], ["exact", "exact"], True)
    found = run("refuse=8", tuning=path)  # the size that it names is refused: another one
    assert found.exact and found.layers[0] == "exact"
    found = run("wrong=two(w)", tuning=path)  # the variant that it names is wrong
    assert found.exact and found.layers[0] == "fast; exact: 1 bytes differ"


def test_results_are_of_one_tuning_file(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "tuning"
    path.write_text(tuning(CHOICE))
    assert run(kept=True).layers[0] == "fast"
    assert run(kept=True, tuning=path).layers[0] == "exact"
    assert run(kept=True).layers[0] == "fast"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (tuning(CHOICE, device="other"), "it is for another device"),
        (tuning(CHOICE, driver="1.01"), "it is for another driver"),
        (tuning(CHOICE, bundle=bytes(8)), "it is for another model"),
        (tuning(CHOICE, first="edgekit-tuning 2"), "it is no tuning file of this version"),
        (tuning("layer 2 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 4,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1,1 other"), "a line names what the model does not have"),
        (tuning("layer 0 2 16,1,1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1 exact"), "a line names what the model does not have"),
        (tuning("layer 0 1 16,1,1 "), "a line names what the model does not have"),
        (tuning("layer -1 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("layer 99999999999 1 16,1,1 exact"), "a line names what the model does not have"),
        (tuning("nonsense"), "a line names what the model does not have"),
        (tuning(CHOICE)[:-3], "it is cut off"),
        (tuning(CHOICE)[:40], "it is cut off"),
        (tuning(CHOICE) + "x", "it is damaged"),
        (re.sub("end ....", "end 0000", tuning(CHOICE)), "it is damaged"),
        ("", "it cannot be read"),
    ],
)
def test_a_tuning_file_that_does_not_fit_is_ignored(
    run: Run, tmp_path: Path, text: str, why: str
) -> None:
    path = tmp_path / "tuning"
    path.write_text(text)
    found = run(tuning=path)
    assert found.exact and found.layers == ["fast", "exact"]
    assert found.said == [f"tuning file '{path}' is ignored: {why}"]


def test_any_damage_of_a_tuning_file(run: Run, tmp_path: Path) -> None:
    path, good = tmp_path / "tuning", tuning(CHOICE).encode()
    chance = random.Random(3)
    for _ in range(30):
        data = bytearray(good)
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        path.write_bytes(data)
        found = run(tuning=path)
        assert found.exact and found.layers[0] == "fast" and "is ignored" in found.said[0]


# ---- times


def timed(found: Result) -> dict[tuple[int, int, int], tuple[int, int, int]]:
    rows = re.findall(r"timed (\d+) (\d+) (\d+): (\d+) (\d+) (\d+)", found.text)
    return {(int(a), int(b), int(c)): (int(d), int(e), int(f)) for a, b, c, d, e, f in rows}


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("", {(0, 0, 0): (1, 0, 1000), (0, 1, 2): (1, 0, 1000), (1, 0, 0): (1, 0, 1000)}),
        ("discrete wrong=one(w)", {(0, 0, 0): (5, 1, 0), (0, 1, 2): (1, 0, 1000)}),
        ("refuse=8", {(0, 0, 1): (4, 0, 0), (0, 0, 0): (1, 0, 1000)}),
        ("uncompiled=one(w)", {(0, 0, 0): (3, 0, 0), (0, 1, 0): (1, 0, 1000)}),
    ],
)
def test_times_of_variants(
    run: Run, script: str, expected: dict[tuple[int, int, int], tuple[int, int, int]]
) -> None:
    found = run(script, timed=True)
    there = timed(found)
    assert {key: there[key] for key in expected} == expected
    # Layers, variants and sizes that there are not.
    assert all(there[key] == (4, 0, 0) for key in [(2, 0, 0), (0, 2, 0), (0, 1, 3), (1, 0, 1)])
    assert found.text.split("again 0 ")[1].startswith(right(sample(10)).hex())


@pytest.mark.parametrize("launch", range(15, 24))
def test_lost_while_a_tuner_works(run: Run, launch: int) -> None:
    found = run(f"die={launch}", timed=True)
    assert sum(verdict == 6 for verdict, *_ in timed(found).values()) == 1
    assert found.text.split("again 0 ")[1].startswith(right(sample(10)).hex())


# ---- sections


def test_no_section(run: Run) -> None:
    assert run(bundle=replace(BUNDLE, gpu=None)).text == "section 11\n"


def test_every_rule_of_the_host_is_one_of_the_runtime(run: Run) -> None:
    for gpu, _ in WRONG:
        text = run(bundle=replace(WITH_GPU, gpu=gpu)).text
        assert re.fullmatch(r"section [56]\n", text), (gpu, text)


@pytest.mark.parametrize("seed", range(6))
def test_damage_under_a_right_checksum(run: Run, seed: int) -> None:
    """Whatever is in the section: refused, or right bytes where the CPU's part is whole."""
    good = write_bundle(BUNDLE)
    chance = random.Random(seed)
    for _ in range(25):
        at = chance.randrange(2, (len(good) - FOOTER_BYTES) // 4) * 4
        word = chance.choice([0, 1, 4, 128, 2**31, 2**32 - 1, chance.randrange(2**32)])
        run(bundle=reseal(good[:at] + word.to_bytes(4, "little") + good[at + 4 :]))


# ---- layout


@pytest.mark.parametrize(("pixels", "channels"), [(1, 1), (6, 3), (5, 4), (7, 9), (1, 640)])
@pytest.mark.parametrize("dtype", ["int8", "int16", "int32"])
def test_pack_and_unpack(pixels: int, channels: int, dtype: str) -> None:
    x = np.random.default_rng(0).integers(-100, 100, (pixels, channels)).astype(dtype)
    command = [program(), "layout", "0", str(pixels), str(channels), str(x.itemsize)]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    assert done.stdout == pack(x, blocked(x.shape, dtype)).tobytes() + x.tobytes()


def test_halves() -> None:
    """Every float16, and float32 between them, as numpy rounds."""
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    chance = np.random.default_rng(1)
    bits = chance.integers(0, 2**32, 2**16, dtype=np.uint32).view(np.float32)
    small = (chance.normal(size=2**16) * 10.0 ** chance.integers(-9, 6, 2**16)).astype(np.float32)
    ties = (halves.astype(np.float32).view(np.uint32) | 0x1000).view(np.float32)
    x = np.concatenate([halves.astype(np.float32), bits, small, ties])
    x = x[~np.isnan(x)]
    x = x[: len(x) // 4 * 4]
    command = [program(), "layout", "1", "1", str(len(x)), "2"]
    done = subprocess.run(command, input=x.tobytes(), capture_output=True, check=True)
    with np.errstate(over="ignore"):
        want = x.astype(np.float16)
    assert done.stdout == want.tobytes() + want.astype(np.float32).tobytes()
