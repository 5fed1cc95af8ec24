"""Small models compiled for Linux without being run, and a C program that uses their library."""

from __future__ import annotations

from pathlib import Path

from stream_nets import Net

from codegen.lower import build_program
from codegen.sources import c_name
from edgekit import __version__
from edgekit.assemble import bundle_of
from edgekit.build import model_files
from edgekit.devices.find import find_target
from edgekit.graph import Graph
from edgekit.output import Output, write_output
from edgekit.streaming import Hop, stream


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


def folder_of(graph: Graph, folder: Path, target: str, threads: int = 1) -> Output:
    """What `edgekit compile` writes, but for figures that need a run."""
    options: dict = {"sparse_weights": "auto", "optimize": "balanced", "threads": threads}
    program = build_program(graph, find_target(target), **options)
    bundle = bundle_of(program, ())
    about = {
        "edgekit": __version__,
        "name": c_name(graph.name),
        "target": target,
        "hash": bundle.hash.hex(),
        "options": options,
    }
    return write_output(folder, model_files(graph, program, bundle), about)


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
