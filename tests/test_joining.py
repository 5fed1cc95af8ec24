"""Compiled models in one arena, taking turns in one process and on one core: each gives the bytes
that it gives alone, and states outlive what the others do."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from models import DIGITS, raw_samples
from pace import every
from state_graphs import accumulator, compiled_graph
from stream_nets import Net, hops, recording
from tools import need

from edgekit import reference
from edgekit.cli import main
from edgekit.devices.emulators.bench import Bench, Out, link_functions
from edgekit.devices.firmware.model import RUNTIME, RUNTIME_FOLDER, support_files
from edgekit.errors import EdgekitError
from edgekit.execute import execute
from edgekit.joining import Joined, join
from edgekit.output import BUNDLE, GRAPH, MARKER, SOURCES, Output, open_output
from edgekit.streaming import Hop, stream
from edgekit.toolchain import find_compiler, host_executable
from targets import board

M4 = board("virtual-cortex-m4")
NAMES = ("accumulator", "net", "digits")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, digits: Output) -> dict[str, Path]:
    """Output folders by name: a running sum, a stream of windows, and a network without states."""
    base = tmp_path_factory.mktemp("alone")
    net = Net((1, 16, 4, 2)).conv(8, (3, 3)).depthwise((3, 1)).dense(3).done()
    graphs = {"accumulator": accumulator([5, -7, 100, 3]), "net": stream(net, Hop(1, 1))}
    return {
        **{name: compiled_graph(graph, base / name).path for name, graph in graphs.items()},
        "digits": digits.path,
    }


@pytest.fixture(scope="module")
def joined(tmp_path_factory: pytest.TempPathFactory, folders: dict[str, Path]) -> Joined:
    return join([folders[name] for name in NAMES], tmp_path_factory.mktemp("joint") / "out")


def samples_of(folder: Output, count: int) -> np.ndarray:
    if folder.name == "digits":
        (x,) = raw_samples(DIGITS, folder.graph, count).values()
        return x
    if folder.name == "net":
        return hops(recording(folder.graph, count), 1)
    return np.random.default_rng(3).integers(-20, 21, (count, 4)).astype(np.int8)


def turns(joint: Path, names: tuple[str, ...]) -> list[tuple[int, bytes, bytes]]:
    """(model, input, output) in a random order of models; outputs are those of each one alone."""
    order = np.random.default_rng(5).integers(0, len(names), 12 * len(names)).tolist()
    streams = []
    for i, name in enumerate(names):
        folder = open_output(joint / name)
        x = samples_of(folder, order.count(i))
        y = reference.run(folder.graph, {folder.graph.inputs[0]: x})[folder.graph.outputs[0]]
        streams.append(iter(list(zip(x, y, strict=True))))
    found = []
    for i in order:
        x, y = next(streams[i])
        found.append((i, x.tobytes(), y.tobytes()))
    return found


def driver(joint: Path, names: tuple[str, ...], mode: str) -> str:
    """C with ``ready()`` and ``turn(model, in, out)``, which runs whole and in steps by turns."""
    lines = ["#include <string.h>", '#include "ek_models.h"', "static uint32_t n;"]
    ready, cases = [], []
    for i, name in enumerate(names):
        get = f"{name}_input(0, &k)", f"{name}_output(0, &k)"
        if mode == "aot":
            lines.append(f'#include "{name}.h"')
            ready.append(f"    {name}_reset();")
            whole, step = f"{name}_run();", f"{name}_step(&run)"
        else:
            data = (joint / name / BUNDLE).read_bytes()
            lines += [
                f"static const uint8_t bundle{i}[] __attribute__((aligned(16))) = {{",
                ",".join(map(str, data)) + "};",
                f"static ek_model_t m{i};",
                f"static const ek_kernel_t *slots{i}[{name.upper()}_KERNELS];",
            ]
            ready.append(
                f"    if (ek_open(&m{i}, bundle{i}, sizeof bundle{i}, ek_kernels, ek_kernel_count, "
                f"slots{i}, {name.upper()}_KERNELS, ek_arena, sizeof ek_arena) != EK_OK) return 1;"
            )
            get = f"ek_input(&m{i}, 0, &k)", f"ek_output(&m{i}, 0, &k)"
            whole, step = f"if (ek_invoke(&m{i}) != EK_OK) return 0;", f"ek_step(&m{i}, &run)"
        cases.append(
            f"    if (model == {i}u) {{\n        memcpy({get[0]}, in, ({get[0]}, k));\n"
            f"        if (n++ % 2u) {{ {whole} }} else {{ while ((s = {step}) == EK_MORE) {{ }}\n"
            f"            if (s != EK_OK) return 0; }}\n"
            f"        memcpy(out, {get[1]}, ({get[1]}, k));\n        return k;\n    }}"
        )
    lines += [
        "int ready(void);", "int ready(void)\n{", *ready, "    return 0;\n}",
        "uint32_t turn(uint32_t model, const uint8_t *in, uint8_t *out);",
        "uint32_t turn(uint32_t model, const uint8_t *in, uint8_t *out)\n{",
        "    uint32_t k = 0;\n    ek_status_t s = EK_OK;\n    ek_run_t run = {0};", *cases,
        "    return 0;\n}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


MAIN = """\
#include <stdint.h>
#include <stdio.h>
int ready(void);
uint32_t turn(uint32_t model, const uint8_t *in, uint8_t *out);
int main(void)
{
    uint8_t in[4096], out[4096];
    if (ready() != 0) return 2;
    for (int c; (c = getchar()) != EOF;) {
        uint32_t nbytes = (uint32_t)getchar();
        nbytes |= (uint32_t)getchar() << 8;
        if (fread(in, 1, nbytes, stdin) != nbytes) return 3;
        if ((nbytes = turn((uint32_t)c, in, out)) == 0u) return 4;
        fwrite(out, 1, nbytes, stdout);
    }
    return 0;
}
"""


def sources_of(joint: Path, names: tuple[str, ...], mode: str) -> list[Path]:
    src = joint / SOURCES
    own = [*RUNTIME] if mode == "interpreter" else []
    generated = ["registry.c"] if mode == "interpreter" else [f"{name}.c" for name in names]
    return [
        *(src / name for name in ("kernels.c", "ek_models.c", *generated)),
        *(src / RUNTIME_FOLDER / name for name in (*own, *support_files())),
    ]


def on_host(joint: Path, names: tuple[str, ...], mode: str, tmp_path: Path) -> None:
    """All turns under sanitizers in one process."""
    need("gcc")
    (tmp_path / "driver.c").write_text(driver(joint, names, mode))
    (tmp_path / "main.c").write_text(MAIN)
    sources = [p for p in sources_of(joint, names, mode) if p.suffix == ".c"]
    program = host_executable(
        [tmp_path / "driver.c", tmp_path / "main.c", *sources],
        include=[joint / SOURCES, joint / SOURCES / RUNTIME_FOLDER],
        sanitize=True,
    )
    plan = turns(joint, names)
    fed = b"".join(bytes([i]) + len(x).to_bytes(2, "little") + x for i, x, _ in plan)
    done = subprocess.run([program], input=fed, capture_output=True, timeout=120)
    assert done.returncode == 0, (done.returncode, done.stderr.decode(errors="replace")[:3000])
    assert done.stdout == b"".join(y for _, _, y in plan)


@pytest.mark.apt
@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_three_models_take_turns_on_this_machine(joined: Joined, mode: str, tmp_path: Path) -> None:
    on_host(joined.path, NAMES, mode, tmp_path)


@pytest.mark.apt
def test_two_models_take_turns(folders: dict[str, Path], tmp_path: Path) -> None:
    names = ("net", "accumulator")
    joint = join([folders[name] for name in names], tmp_path / "out")
    on_host(joint.path, names, "aot", tmp_path)
    assert joint.arena < max(m.arena for m in joint.members) + joint.members[1].kept + 1


@pytest.mark.parametrize("mode", ["interpreter", "aot"])
def test_three_models_take_turns_on_a_core(joined: Joined, mode: str, tmp_path: Path) -> None:
    (tmp_path / "driver.c").write_text(driver(joined.path, NAMES, mode))
    src = joined.path / SOURCES
    objects = find_compiler("zig", M4.target).objects(
        [tmp_path / "driver.c", *sources_of(joined.path, NAMES, mode)],
        include=[src, src / RUNTIME_FOLDER],
        opt=M4.target.kernel_opt,
    )
    bench = Bench(link_functions(objects, M4, ["ready", "turn"]), M4)
    assert bench.call("ready").result == 0
    for i, x, y in turns(joined.path, NAMES):
        done = bench.call("turn", [i, x, Out(len(y))])
        assert (done.result, done.outputs[0]) == (len(y), y)


def test_all_of_them_in_cpp(joined: Joined, tmp_path: Path) -> None:
    """One C++ file uses every model, ahead of time and by the interpreter on the joint arena."""
    lines = ['#include "edgekit.hpp"', '#include "ek_models.h"']
    lines += [f'#include "{name}.hpp"' for name in NAMES]
    lines += ["static const ek_kernel_t *slots[NET_KERNELS];", "static edgekit::Model model;",
              "ek_status_t all(const void *bundle, size_t n);",
              "ek_status_t all(const void *bundle, size_t n)\n{"]  # fmt: skip
    lines += [f"    edgekit::models::{name}::reset();" for name in NAMES]
    lines += ["    static_assert(edgekit::models::net::arena_bytes <= EK_ARENA_BYTES, \"joint\");",
              "    return model.open(bundle, n, ek_kernels, ek_kernel_count,",
              "        edgekit::Span<const ek_kernel_t *>(slots, NET_KERNELS),",
              "        edgekit::Span<uint8_t>(ek_arena, EK_ARENA_BYTES));", "}", ""]  # fmt: skip
    (tmp_path / "all.cpp").write_text("\n".join(lines))
    src = joined.path / SOURCES
    cc = find_compiler("zig", M4.target)
    done = subprocess.run(
        [cc.command[0], "c++", *cc.target_flags, "-std=c++11", "-Wall", "-Wextra", "-Werror",
         "-ffreestanding", "-fno-exceptions", "-fno-rtti", f"-I{src}", f"-I{src / RUNTIME_FOLDER}",
         "-c", tmp_path / "all.cpp", "-o", tmp_path / "all.o"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]


@pytest.mark.parametrize("mode", every(2, ["interpreter", "aot"]))
def test_each_model_alone_from_its_folder(joined: Joined, mode: str) -> None:
    for name in NAMES:
        folder = open_output(joined.path / name)
        x = samples_of(folder, 8)
        (entry,), (out,) = folder.graph.inputs, folder.graph.outputs
        want = reference.run(folder.graph, {entry: x})[out]
        for where in ("host", M4.name):
            np.testing.assert_array_equal(execute(folder, {entry: x}, where, mode=mode)[out], want)


def test_the_figures(joined: Joined, folders: dict[str, Path]) -> None:
    alone = [open_output(folders[name]).description["report"]["ram"]["arena"] for name in NAMES]
    kept = [8, 224, 0]  # four bytes aligned to eight; rows of 3 x 4 x 2 and 14 x 4 x 8 steps
    assert [m.arena for m in joined.members] == alone
    assert [m.kept for m in joined.members] == kept
    assert joined.arena == sum(kept) + max(a - k for a, k in zip(alone, kept, strict=True))
    assert joined.arena_saved == sum(alone) - joined.arena > 0
    assert joined.flash_saved > 0
    about = json.loads((joined.path / MARKER).read_text())
    assert about["models"] == list(NAMES) and about["arena_bytes"] == joined.arena
    old = open_output(folders["digits"]).description["report"]
    new = open_output(joined.path / "digits").description["report"]
    assert new["logits_sqnr_db"] == old["logits_sqnr_db"] and new["cycles"] == old["cycles"]
    assert new["ram"]["arena"] == joined.members[2].reach


def test_kernels_are_there_once(folders: dict[str, Path], digits: Output, tmp_path: Path) -> None:
    graph = digits.graph.copy()
    graph.name = "twin"
    twin = compiled_graph(graph, tmp_path / "twin")
    joint = join([folders["digits"], twin.path], tmp_path / "out")
    first, second = joint.members
    assert first.shared == second.shared == first.kernels
    assert joint.kernel_flash == first.kernel_flash == joint.flash_saved
    assert joint.arena == first.arena == second.arena


def test_the_table(folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "out"
    command = ["join", str(folders["accumulator"]), str(folders["net"]), "-o", str(out)]
    assert main(command) == 0
    said = capsys.readouterr().out
    assert "B saved" in said and "accumulator" in said and f"wrote    {out}" in said
    assert main([*command, "--json", "-"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert figures["models"] == ["accumulator", "net"]
    # A model with states is profiled from its initial content on.
    assert main(["profile", str(out / "net"), "--board", M4.name, "--repeat", "2"]) == 0
    assert main(["run", str(out), "--input", "x.npz"]) == 1
    assert f"E347 '{out}' joins 2 models" in capsys.readouterr().err


def changed(folder: Path, to: Path, edit: Callable[[Path], None]) -> Path:
    shutil.copytree(folder, to)
    edit(to)
    return to


def described(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        about = json.loads((folder / MARKER).read_text())
        (folder / MARKER).write_text(json.dumps({**about, **changes}))

    return edit


def cut(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:-40])


def other_weights(folder: Path) -> None:
    text = (folder / GRAPH).read_text()
    (folder / GRAPH).write_text(text.replace("second", "other").replace("0.5", "0.25"))


@pytest.mark.parametrize(
    ("edit", "code", "word"),
    [
        (described(options=None), "E348", "does not say how"),
        (described(options={"sparse_weights": "auto", "optimize": 3}), "E348", "does not say how"),
        (described(name="../up"), "E348", "says that it is '../up'"),
        (described(name="kernels"), "E345", "is called 'kernels'"),
        (described(name="NET"), "E345", "is called 'NET', as is"),
        (described(target="cortex-m7"), "E346", "2 targets"),
        (described(target=7), "E346", "2 targets"),
        (other_weights, "E348", "its bundle is"),
        (cut(GRAPH), "E108", ""),
        (cut(BUNDLE), "E402", ""),
        (lambda folder: (folder / GRAPH).unlink(), "E702", "graph.txt"),
        (lambda folder: (folder / MARKER).unlink(), "E701", "is not a folder"),
    ],
)
def test_what_does_not_go_together(
    folders: dict[str, Path], tmp_path: Path, edit: Callable[[Path], None], code: str, word: str
) -> None:
    wrong = changed(folders["accumulator"], tmp_path / "wrong", edit)
    with pytest.raises(EdgekitError) as caught:
        join([folders["net"], wrong], tmp_path / "out")
    assert caught.value.code == code and word in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_numbers_and_places(folders: dict[str, Path], tmp_path: Path, joined: Joined) -> None:
    for given, code in (
        ([folders["net"]], "E345"),
        ([folders["net"], folders["net"]], "E345"),
        ([folders["net"], joined.path], "E347"),
        ([folders["net"], joined.path / "digits"], "E345"),
        ([folders["net"], tmp_path / "none"], "E701"),
    ):
        with pytest.raises(EdgekitError) as caught:
            join(given, tmp_path / "out")
        assert caught.value.code == code
    with pytest.raises(EdgekitError, match="is one of the models to join"):
        join([folders["net"], folders["accumulator"]], folders["net"])
    (tmp_path / "mine").write_text("")
    with pytest.raises(EdgekitError, match="E703"):
        join([folders["net"], folders["accumulator"]], tmp_path / "mine")
