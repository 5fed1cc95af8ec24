"""The example of every package: one inference on a golden sample, its output compared."""

from __future__ import annotations

import re

from edgekit.devices.firmware.build import firmware_folder
from edgekit.packages.contents import Contents, Model
from edgekit.packages.ctext import byte_array, fill
from edgekit.toolchain import freestanding_include, linker_script
from targets import Board

#: Of a folder of firmware/ports, what starts a program and nothing more.
_START = ("startup.c", "entry.S", "memory.c")
_INCLUDE = re.compile(r'^#include "([^"]+)"', re.MULTILINE)


def check_files(contents: Contents) -> dict[str, bytes]:
    """``NAME_check.h`` and ``.c``, which count equal bytes; ``NAME_golden.h`` with the sample."""
    name = contents.name
    return {
        f"{name}_check.h": fill("check.h", **_names(contents)).encode(),
        f"{name}_check.c": _check(contents).encode(),
        f"{name}_golden.h": _golden(contents).encode(),
    }


def program_files(contents: Contents) -> dict[str, bytes]:
    """The example as a program with ``main``: `check_files`, and one way to print."""
    return {
        **check_files(contents),
        "main.c": fill("main.c", **_names(contents)).encode(),
        "say_stdio.c": fill("say_stdio.c").encode(),
    }


def machine_files(board: Board) -> dict[str, bytes]:
    """What the example needs to start and to print in `board`'s QEMU machine, without a libc."""
    ports = firmware_folder() / "ports"
    port = ports / board.target.port
    files = {name: (port / name).read_bytes() for name in _START if (port / name).is_file()}
    headers = {"ek_fault.h"}  # of say_semihosting.c
    for data in files.values():
        headers.update(_INCLUDE.findall(data.decode("utf-8")))
    files |= {name: (ports / name).read_bytes() for name in sorted(headers)}
    return {
        **files,
        "say_semihosting.c": fill("say_semihosting.c").encode(),
        "linker.ld": linker_script(board.regions).encode(),
    }


def emulator(board: Board) -> list[str]:
    """The command that runs a program of `machine_files`; the ELF file comes last."""
    assert board.qemu is not None
    return [
        board.qemu.command,
        *("-M", board.qemu.machine),
        *board.qemu.arguments,
        *("-display", "none", "-serial", "none", "-monitor", "none"),
        *("-chardev", "stdio,id=console"),
        *("-semihosting-config", "enable=on,target=native,chardev=console"),
        "-kernel",
    ]


def freestanding_files() -> dict[str, bytes]:
    """``string.h`` for compilers that come without a C library."""
    path = freestanding_include() / "string.h"
    return {path.name: path.read_bytes()}


def _names(contents: Contents) -> dict[str, str]:
    return {"name": contents.name, "upper": contents.upper}


def _golden(contents: Contents) -> str:
    guard = f"EK_GOLDEN_{contents.upper}_H"
    arrays = [
        f"static const {byte_array(f'{model.name}_golden_{word}{i}', data, 8)}"
        for model in contents.models
        for word, samples in (("input", model.golden.inputs), ("output", model.golden.outputs))
        for i, data in enumerate(samples)
    ]
    return (
        "/* Samples and the bytes that they must give, by edgekit's integer reference. "
        "Generated. */\n"
        f"#ifndef {guard}\n#define {guard}\n\n#include <stdint.h>\n\n"
        + "\n".join(arrays)
        + "\n#endif\n"
    )


def _check(contents: Contents) -> str:
    aot = contents.mode == "aot"
    arena = "ek_arena" if contents.joint else "arena"
    models = "\n".join(_aot(m) if aot else _interpreter(m, arena) for m in contents.models)
    if not aot and not contents.joint:
        size = f"{contents.models[0].upper}_BUNDLE_ARENA"
        models = f"static uint8_t arena[{size}] __attribute__((aligned(16)));\n{models}"
    return fill(
        "check.c",
        **_names(contents),
        includes="".join(f'#include "{header}"\n' for header in contents.public),
        models=models,
        calls="\n".join(f"    equal += {model.name}_equal_bytes();" for model in contents.models),
        total=contents.output_bytes,
    )


def _aot(model: Model) -> str:
    name = model.name
    buffers = "".join(
        f"static uint8_t {name}_output{i}[{t.nbytes}] __attribute__((aligned(8)));\n"
        for i, t in enumerate(model.outputs)
    )
    arguments = [f"(const void *){name}_golden_input{i}" for i, _ in enumerate(model.inputs)]
    arguments += [f"(void *){name}_output{i}" for i, _ in enumerate(model.outputs)]
    return fill(
        "check_aot.c",
        name=name,
        buffers=buffers,
        arguments=", ".join(arguments),
        equal=_equal(model, name + "_output{}"),
    )


def _interpreter(model: Model, arena: str) -> str:
    name = model.name
    copies = "\n".join(
        f"    memcpy(ek_input(&{name}_model, {i}, NULL), {name}_golden_input{i}, {t.nbytes}u);"
        for i, t in enumerate(model.inputs)
    )
    return fill(
        "check_interpreter.c",
        name=name,
        upper=model.upper,
        arena=arena,
        copies=copies,
        equal=_equal(model, f"ek_output(&{name}_model, {{}}, NULL)"),
    )


def _equal(model: Model, got: str) -> str:
    return "\n".join(
        f"    equal += ek_same({got.format(i)}, {model.name}_golden_output{i}, {t.nbytes}u);"
        for i, t in enumerate(model.outputs)
    )
