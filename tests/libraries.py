"""Small models compiled for Linux without being run, and a C program that uses their library."""

from __future__ import annotations

import importlib.util
import io
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from stream_nets import Net
from tools import need

from codegen.lower import build_program
from codegen.sources import c_name
from edgekit import __version__
from edgekit.assemble import bundle_of, golden_samples
from edgekit.build import model_files
from edgekit.devices.find import find_target
from edgekit.graph import Graph
from edgekit.library import Library
from edgekit.output import Output, write_output
from edgekit.streaming import Hop, stream
from targets import linux

HERE = pytest.mark.skipif(not linux.runs_here("x86_64"), reason="needs Linux on an x86-64 PC")
SYSROOT = "/usr/aarch64-linux-gnu"


def net(seed: int = 0) -> Graph:
    """Convolutions that are worth sharing, and layers that are not."""
    made = Net((1, 16, 12, 8), seed).conv(16, (3, 3)).depthwise((3, 3))
    graph = made.conv(24, (1, 1), strides=[2, 2]).op("max_pool2d", **POOL).dense(10).done()
    graph.name = "net"
    return graph


POOL = {"kernel": [2, 2], "strides": [2, 2], "pads": [0, 0, 0, 0]}


def streaming() -> Graph:
    """A model that keeps its last windows."""
    graph = stream(Net((1, 12, 4, 2)).conv(4, (3, 3)).dense(3).done(), Hop(1, 1))
    graph.name = "hop"
    return graph


def folder_of(
    graph: Graph, folder: Path, target: str, threads: int = 1, golden: bool = False
) -> Output:
    """What `edgekit compile` writes, but for figures that need a run; samples with `golden`."""
    options: dict = {"sparse_weights": "auto", "optimize": "balanced", "threads": threads}
    program = build_program(graph, find_target(target), **options)
    bundle = bundle_of(program, golden_samples(graph, None) if golden else ())
    about = {
        "edgekit": __version__,
        "name": c_name(graph.name),
        "target": target,
        "hash": bundle.hash.hex(),
        "options": options,
    }
    return write_output(folder, model_files(graph, program, bundle), about)


def loaded(library: Library) -> ModuleType:
    path = library.path / f"{library.name}.py"
    spec = importlib.util.spec_from_file_location(f"loaded_{library.name}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def cross(triple: str, debian: str) -> str:
    """GCC for `triple` with a libc's headers and libraries, and QEMU for its programs."""
    need(f"qemu-{triple.partition('-')[0]}", f"{triple}-gcc")
    if not Path("/usr", triple, "include", "stdio.h").exists():
        need(f"libc6-dev-{debian}-cross")  # no command, but that is what is missing
    return f"{triple}-gcc"


#: main(threads, target or "-"): reads samples, runs each on two instances, on this thread alone and
#: on `threads` of a pool, and writes both outputs; says on standard error which program ran.
DRIVER = """\
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ek_pool.h"
#include "NAME.h"

static NAME_t alone, shared;
static ek_pool_t pool;

int main(int argc, char **argv)
{
    static uint8_t sample[UPPER_INPUT_BYTES];
    uint32_t nbytes = 0;
    const char *const target = argc > 2 && strcmp(argv[2], "-") != 0 ? argv[2] : NULL;
    if (NAME_run(&alone) != EK_STATE || NAME_output(&alone, 0, &nbytes) != NULL) return 10;
    const ek_status_t opened = NAME_open(&alone, sizeof alone, target);
    if (opened != EK_OK) return (int)opened + 20;
    if (NAME_open(&shared, sizeof shared, target) != EK_OK) return 11;
    if (ek_pool_open(&pool, (uint32_t)atoi(argv[1])) != 0) return 12;
    const ek_parallel_t threads = ek_pool_threads(&pool);
    fprintf(stderr, "%s\\n", NAME_target(&alone));
    while (fread(sample, 1, sizeof sample, stdin) == sizeof sample) {
        memcpy(NAME_input(&alone, 0, &nbytes), sample, sizeof sample);
        if (nbytes != sizeof sample) return 13;
        memcpy(NAME_input(&shared, 0, NULL), sample, sizeof sample);
        if (NAME_run(&alone) != EK_OK || NAME_run_parallel(&shared, &threads) != EK_OK) return 14;
        fwrite(NAME_output(&alone, 0, &nbytes), 1, UPPER_OUTPUT_BYTES, stdout);
        fwrite(NAME_output(&shared, 0, NULL), 1, UPPER_OUTPUT_BYTES, stdout);
    }
    ek_pool_close(&pool);
    if (NAME_close(&alone) != EK_OK || NAME_run(&alone) != EK_STATE) return 15;
    if (NAME_run(&shared) != EK_OK) return 16;
    return 0;
}
"""


def driver(name: str) -> str:
    return DRIVER.replace("NAME", name).replace("UPPER", name.upper())


def gpu_folder_of(
    graph: Graph, folder: Path, target: str, threads: int = 1, spirv: bool = False
) -> Output:
    """The same for a target with GPUs, and samples."""
    from codegen.gpu.lower import build_gpu_program
    from codegen.gpu.spirv import shaders

    options: dict = {"sparse_weights": "auto", "optimize": "speed", "threads": threads}
    program = build_program(graph, find_target(target), **options)
    gpu = None if program.states else build_gpu_program(graph, program)
    if gpu is not None and spirv:
        gpu = replace(gpu, spirv=shaders(gpu).spirv)
    bundle = bundle_of(program, golden_samples(graph, None), gpu)
    about = {
        "edgekit": __version__,
        "name": c_name(graph.name),
        "model": f"{graph.name}.onnx",
        "target": target,
        "hash": bundle.hash.hex(),
        "options": options,
    }
    return write_output(folder, model_files(graph, program, bundle), about)


#: main(library, folder, when): reads samples and runs each on two instances, each of which has a
#: device, the second on a pool's threads too; writes both outputs, and on standard error lines of
#: what the calls say. Makes the file `when` after the first sample, unless that is "-".
GPU_DRIVER = """\
#include <stdio.h>
#include <string.h>

#include "ek_pool.h"
#include "NAME.h"

static NAME_t first, second;
static ek_pool_t pool;

static void say(void *context, const char *line)
{
    fprintf(stderr, "%s said %s\\n", (const char *)context, line);
}

static void describe(const char *which, const NAME_t *model)
{
    ek_gpu_summary_t about;
    ek_gpu_layer_summary_t layer;
    (void)NAME_gpu_summary(model, &about);
    fprintf(stderr, "%s device %s|%s|%u of %u|%s\\n", which, about.api, about.name,
            (unsigned)about.device_layers, (unsigned)about.layers, about.why);
    for (uint32_t i = 0; NAME_gpu_layer(model, i, &layer) == EK_OK; ++i) {
        fprintf(stderr, "%s layer %s|%s|%u|%s\\n", which, layer.name, layer.op,
                (unsigned)layer.on_device, layer.by);
    }
}

int main(int argc, char **argv)
{
    static uint8_t sample[UPPER_INPUT_BYTES];
    char one[] = "first", two[] = "second";
    ek_gpu_settings_t settings = {0};
    ek_gpu_layer_summary_t none;
    if (argc != 4 || NAME_gpu_open(&first, NULL) != EK_STATE) return 10;
    if (NAME_gpu_layer(&first, 0, &none) != EK_STATE) return 11;
    if (NAME_open(&first, sizeof first - 1, NULL) != EK_ARENA_TOO_SMALL) return 12;
    if (NAME_open(&first, sizeof first, NULL) != EK_OK) return 13;
    if (NAME_open(&second, sizeof second, NULL) != EK_OK) return 14;
    settings.library = argv[1];
    settings.folder = argv[2];
    settings.patience_ms = 2000;
    settings.say = say;
    settings.context = one;
    fprintf(stderr, "first open %d\\n", (int)NAME_gpu_open(&first, &settings));
    settings.context = two;
    fprintf(stderr, "second open %d\\n", (int)NAME_gpu_open(&second, &settings));
    describe("first", &first);
    describe("second", &second);
    fprintf(stderr, "second twice %d\\n", (int)NAME_gpu_open(&second, &settings));
    fprintf(stderr, "first target %s\\n", NAME_target(&first));
    if (ek_pool_open(&pool, 2) != 0) return 15;
    const ek_parallel_t threads = ek_pool_threads(&pool);
    while (fread(sample, 1, sizeof sample, stdin) == sizeof sample) {
        memcpy(NAME_input(&first, 0, NULL), sample, sizeof sample);
        memcpy(NAME_input(&second, 0, NULL), sample, sizeof sample);
        fprintf(stderr, "first run %d\\n", (int)NAME_run(&first));
        fprintf(stderr, "second run %d\\n", (int)NAME_run_parallel(&second, &threads));
        fwrite(NAME_output(&first, 0, NULL), 1, UPPER_OUTPUT_BYTES, stdout);
        fwrite(NAME_output(&second, 0, NULL), 1, UPPER_OUTPUT_BYTES, stdout);
        if (strcmp(argv[3], "-") != 0) {
            FILE *const when = fopen(argv[3], "w");
            if (when == NULL || fclose(when) != 0) return 16;
        }
    }
    ek_pool_close(&pool);
    describe("first", &first);
    if (NAME_close(&first) != EK_OK || NAME_run(&first) != EK_STATE) return 17;
    if (NAME_close(&first) != EK_STATE) return 18;
    if (NAME_close(&second) != EK_OK) return 19;
    if (NAME_open(&first, sizeof first, NULL) != EK_OK) return 20;
    fprintf(stderr, "first again %d\\n", (int)NAME_gpu_open(&first, &settings));
    return NAME_close(&first) == EK_OK ? 0 : 21;
}
"""


def gpu_driver(name: str) -> str:
    return GPU_DRIVER.replace("NAME", name).replace("UPPER", name.upper())


def gpu_program(library: Library, command: list[str], link: list[str]) -> Path:
    """`GPU_DRIVER` built with `command`, a C compiler and its flags."""
    need(command[0])
    source = library.path.parent / "main.c"
    source.write_text(gpu_driver(library.name))
    made = library.path.parent / f"main{len(link)}"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{library.path}"]
    files = [str(source), str(library.path / "ek_pool.c"), *link, "-pthread", "-o", str(made)]
    done = subprocess.run([*command, *flags, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[:3000]
    return made


def check_for_android(library: bytes, name: str) -> None:
    """What the linker of Android asks of a shared library."""
    from elftools.elf.elffile import ELFFile

    elf = ELFFile(io.BytesIO(library))
    assert elf.header.e_type == "ET_DYN"
    # Since API 26 section headers are asked for too.
    assert elf.header.e_shnum > 0 and elf.header.e_shstrndx > 0
    dynamic = elf.get_section_by_name(".dynamic")
    tags = {tag.entry.d_tag: tag for tag in dynamic.iter_tags()}
    assert tags["DT_SONAME"].soname == f"lib{name}.so"
    assert not {"DT_NEEDED", "DT_TEXTREL", "DT_RPATH", "DT_RUNPATH"} & set(tags)
    assert {"DT_HASH", "DT_GNU_HASH"} & set(tags)
    undefined = [s.name for s in elf.get_section_by_name(".dynsym").iter_symbols()
                 if s["st_shndx"] == "SHN_UNDEF" and s.name]  # fmt: skip
    assert undefined == []
    for segment in elf.iter_segments():
        kind, flags = segment.header.p_type, segment.header.p_flags
        assert kind != "PT_INTERP"
        if kind == "PT_GNU_STACK":
            assert not flags & 1
        if kind == "PT_LOAD":
            assert flags & 3 != 3  # writable and executable
            assert segment.header.p_align >= 16384
            assert (segment.header.p_vaddr - segment.header.p_offset) % 16384 == 0
