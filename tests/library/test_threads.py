"""The pool, and inferences on it, under the thread sanitizer."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
from libraries import driver, folder_of, net
from tools import need

from edgekit import reference
from edgekit.devices.firmware.build import firmware_folder
from edgekit.devices.firmware.model import support_files
from edgekit.library.sources import sources_of

SANITIZER = ("-fsanitize=thread", "-g", "-O1", "-std=c99", "-Wall", "-Wextra", "-Werror")
LIBRARY = firmware_folder() / "library"
#: Two threads use one pool at the same time; every job's tasks must have run just once when `run`
#: returns, whatever their number.
MAIN = """\
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "ek_pool.h"

enum { MOST = 40 };
typedef struct { uint32_t hits[MOST]; uint32_t sum; } job_t;
static ek_pool_t pool;

static void task(void *context, uint32_t i)
{
    job_t *const job = context;
    job->hits[i] += 1u;
    (void)__atomic_fetch_add(&job->sum, i, __ATOMIC_RELAXED);
}

static void *user(void *seed)
{
    unsigned state = (unsigned)(uintptr_t)seed;
    const ek_parallel_t threads = ek_pool_threads(&pool);
    for (int round = 0; round < 3000; ++round) {
        const uint32_t count = (uint32_t)rand_r(&state) % MOST;
        job_t job;
        memset(&job, 0, sizeof job);
        threads.run(threads.pool, task, &job, count);
        for (uint32_t i = 0; i < MOST; ++i) {
            if (job.hits[i] != (i < count ? 1u : 0u)) exit(1);
        }
        if (count != 0u && job.sum != count * (count - 1u) / 2u) exit(2);
        if (round % 500 == 0) usleep(2000); /* long enough that the workers sleep */
    }
    return NULL;
}

int main(void)
{
    for (uint32_t threads = 1; threads <= 4; ++threads) {
        pthread_t other;
        if (ek_pool_open(&pool, threads) != 0) return 3;
        if (ek_pool_threads(&pool).threads != threads) return 4;
        if (pthread_create(&other, NULL, user, (void *)1) != 0) return 5;
        (void)user((void *)2);
        pthread_join(other, NULL);
        ek_pool_close(&pool);
    }
    if (ek_pool_open(&pool, 0) == 0 || ek_pool_open(&pool, EK_POOL_MOST + 1) == 0) return 6;
    return ek_pool_bytes() == sizeof pool ? 0 : 7;
}
"""


def sanitized(folder: Path, sources: list[Path], include: list[Path], *flags: str) -> Path:
    need("gcc")
    made = folder / "program"
    paths = [*(f"-I{d}" for d in include), *map(str, sources)]
    done = subprocess.run(
        ["gcc", *SANITIZER, *flags, *paths, "-pthread", "-o", str(made)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[:3000]
    return made


def run(program: Path, *arguments: str, data: bytes = b"") -> bytes:
    done = subprocess.run([program, *arguments], input=data, capture_output=True, timeout=200)
    assert done.returncode == 0, (done.returncode, done.stderr.decode()[:3000])
    return done.stdout


@pytest.mark.parametrize("looks", [1, 2000])
def test_the_pool(tmp_path: Path, looks: int) -> None:
    """`looks`: workers that sleep at once, and those that look for a while."""
    (tmp_path / "main.c").write_text(MAIN)
    sources = [tmp_path / "main.c", LIBRARY / "ek_pool.c"]
    include = [LIBRARY, firmware_folder() / "include"]
    run(sanitized(tmp_path, sources, include, f"-DEK_POOL_LOOKS={looks}"))


def library_program(folder: Path, changed: tuple[str, str] = ("", "")) -> Path:
    """The driver, a library's sources, and the pool, all under the sanitizer; text of ``net.c`` may
    be changed."""
    sources = sources_of(
        [folder_of(net(), folder / "out", "linux-x86_64", threads=4)], lambda stage, share: None
    )
    names = sources.write(folder)
    (folder / "main.c").write_text(driver("net"))
    text = (folder / "net.c").read_text()
    assert changed[0] in text
    (folder / "net.c").write_text(text.replace(*changed))
    root = firmware_folder()
    files = [
        *(folder / name for name in ("main.c", *names)),
        *(LIBRARY / name for name in ("ek_library.c", "ek_cpu.c", "ek_pool.c")),
        *(root / "src" / name for name in support_files() if name.endswith(".c")),
    ]
    include = [folder, LIBRARY, root / "include", root / "src", root / "linux"]
    return sanitized(folder, files, include, f"-Wa,-I{folder}")


def test_inferences_have_no_races(tmp_path: Path) -> None:
    """No two threads touch one byte: parts write apart, scratch buffers too."""
    program, graph = library_program(tmp_path), net()
    shape = (4, *graph.values["x"].sample_shape)
    x = np.random.default_rng(1).integers(-128, 128, shape).astype(np.int8)
    want = reference.run(graph, {"x": x})[graph.outputs[0]]
    for threads in (2, 4):
        assert run(program, str(threads), data=x.tobytes()) == np.repeat(want, 2, 0).tobytes()


def test_a_race_would_be_seen(tmp_path: Path) -> None:
    """With all workers in one scratch buffer the sanitizer complains."""
    program = library_program(tmp_path, ("+ worker *", "+ 0u * worker *"))
    x = np.zeros((40, *net().values["x"].sample_shape), np.int8)
    done = subprocess.run([program, "4"], input=x.tobytes(), capture_output=True, timeout=200)
    assert done.returncode == 66 and b"data race" in done.stderr
