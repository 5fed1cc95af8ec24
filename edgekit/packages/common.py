"""What packages of all forms have: sources, licence, and a README around the form's own steps."""

from __future__ import annotations

from edgekit.packages.contents import Contents, Model
from edgekit.packages.ctext import fill, one_line, template
from edgekit.packages.example import freestanding_files, machine_files
from edgekit.packages.labels import LABELS

#: C types by dtype, as the generated headers have them.
_C_TYPES = {
    "bool": "uint8_t", "int8": "int8_t", "uint8": "uint8_t", "int16": "int16_t",
    "int32": "int32_t", "int64": "int64_t", "float32": "float",
}  # fmt: skip
_MODES = {
    "aot": "The kernels are called one after the other; weights are constants.",
    "interpreter": "A bundle is verified, then executed; another one with the same kernels can "
    "take its place without a new program.",
}


#: What holds for models that share an arena.
_JOINT = (
    "\nThe models share one arena: fill a model's input after the others have run, read its output "
    "before\nthey do, and let one inference end before another begins. States outlive the others' "
    "runs.\n"
)


def names(contents: Contents) -> dict[str, object]:
    """What most templates name."""
    return {
        "name": contents.name,
        "upper": contents.upper,
        "version": contents.version,
        "edgekit": contents.edgekit,
        "model": contents.files,
        "target": contents.target.name,
        "header": contents.public[0],
        "headers": ",".join(contents.public),
        "includes": "\n".join(f"#include <{header}>" for header in contents.public),
        "kernel_opt": contents.target.kernel_opt,
        "total": contents.output_bytes,
    }


def sizes(contents: Contents) -> dict[str, object]:
    """Bytes of RAM, constants and stack."""
    return {
        "arena": contents.arena_bytes,
        "weights": contents.constant_bytes,
        "stack": "\n" + stack if (stack := _stack(contents)) else "",
    }


def _stack(contents: Contents) -> str:
    if not contents.stack_bytes:
        return ""  # nothing ran it when it was compiled
    return (
        f"One inference takes {contents.stack_bytes} bytes of the stack of the task that calls it, "
        f"as measured on {contents.models[0].board}."
    )


def below(folder: str, files: dict[str, bytes]) -> dict[str, bytes]:
    """The files in a folder of that name."""
    return {f"{folder}/{name}": data for name, data in files.items()}


def source_files(contents: Contents) -> dict[str, bytes]:
    """Sources, headers and, with the interpreter, the bundle as a file."""
    files = below("src", {**contents.sources, **contents.headers})
    if contents.mode == "interpreter":
        for model in contents.models:
            files[f"{model.name}.ekb"] = model.bundle_file
    return files


def bare_files(contents: Contents) -> dict[str, bytes]:
    """For programs without a system: a string.h, and a machine of QEMU where there is one."""
    if contents.hosted:
        return {}
    files = below("freestanding", freestanding_files())
    if contents.machine is not None:
        files |= below("machine", machine_files(contents.machine))
    return files


def elsewhere(contents: Contents, form: str) -> str:
    """How the example of a `form` runs on the target without a board; empty where it does not."""
    board = contents.machine
    values = {"target": contents.target.name, "gcc_package": contents.target.gcc_package}
    if contents.hosted:
        return fill(f"{form}/README_linux.md", **values)
    if board is None or board.qemu is None:
        return ""
    return fill(
        f"{form}/README_machine.md",
        **values,
        qemu_package=board.qemu.package,
        qemu_machine=board.qemu.machine,
    )


def papers(
    contents: Contents, form: str, title: str, steps: str, notes: str = ""
) -> dict[str, bytes]:
    """Licence, notice and README.

    Args:
        form: key of `LABELS`.
        title: what people call the form.
        steps: Markdown of how to use it and run its example.
        notes: further Markdown after the calls.
    """
    readme = fill(
        "README.md",
        **names(contents),
        mode=_MODES[contents.mode],
        table=_table(contents),
        steps=steps,
        calls=calls(contents),
        notes=notes + _wrappers(contents) + (_JOINT if contents.joint else ""),
        title=title,
        label=LABELS[form].text,
    )
    notice = fill("NOTICE", **names(contents))
    return {
        "README.md": readme.encode(),
        "NOTICE": notice.encode(),
        "LICENSE": template("LICENSE").encode(),
    }


def _wrappers(contents: Contents) -> str:
    """Which headers other languages include, where the compiler wrote such."""
    others = {"C++": ".hpp", "Rust": ".rs"}
    aot = contents.mode == "aot"
    found = [
        f"{language}: {', '.join(f'`src/{name}`' for name in names)}"
        for language, suffix in others.items()
        if (
            names := [
                name for name in contents.headers if name.endswith(suffix) and ("/" in name) != aot
            ]
        )
    ]
    return f"\nThe same from {'; from '.join(found)}.\n" if found else ""


def _plain(name: str) -> str:
    """A tensor's name, free of what ends a cell of a table."""
    return one_line(name).replace("|", "/")


def _table(contents: Contents) -> str:
    rows = []
    for model in contents.models:
        of = f"{model.name}: " if contents.joint else ""
        rows += [
            (
                f"{of}{word} '{_plain(t.name)}'",
                f"{'x'.join(map(str, t.shape))} {t.dtype}, {t.nbytes} B",
            )
            for word, tensors in (("input", model.inputs), ("output", model.outputs))
            for t in tensors
        ]
        if model.bundle.states:
            rows.append((f"{of}states", f"{len(model.bundle.states)}, in the arena"))
        if contents.mode == "interpreter":
            rows.append((f"{of}bundle", f"{len(model.bundle_file)} B of flash"))
        else:
            rows.append((f"{of}weights", f"{len(model.bundle.constants)} B of flash"))
        rows.append((f"{of}hash", model.bundle.hash.hex()))
    shared = ", one for all models" if contents.joint else ""
    rows.append(("arena", f"{contents.arena_bytes} B of RAM, static{shared}"))
    if contents.stack_bytes:
        board = contents.models[0].board
        rows.append(("stack", f"{contents.stack_bytes} B, as measured on {board}"))
    return "\n".join(f"| {left} | {right} |" for left, right in rows)


def calls(contents: Contents) -> str:
    """How a program calls the models: a few lines of C."""
    of = _aot_calls if contents.mode == "aot" else _interpreter_calls
    includes = "".join(f'#include "{header}"\n' for header in contents.public)
    shared = contents.joint or contents.mode == "aot"
    arena = (
        ""
        if shared
        else (
            f"static uint8_t arena[{contents.models[0].upper}_BUNDLE_ARENA] "
            "__attribute__((aligned(16)));\n"
        )
    )
    return includes + "\n" + arena + "\n".join(of(m, contents.joint) for m in contents.models)


def _aot_calls(model: Model, joint: bool) -> str:
    buffers, arguments = [], []
    for word, tensors in (("in", model.inputs), ("out", model.outputs)):
        for i, t in enumerate(tensors):
            variable = f"{model.name}_{word}" if joint else word
            variable += "" if len(tensors) == 1 else str(i)
            elements = max(t.nbytes // _element_bytes(t.dtype), 1)
            buffers.append(f"static {_C_TYPES[t.dtype]} {variable}[{elements}];\n")
            arguments.append(variable)
    reset = f"{model.name}_reset(); /* once: gives the states their initial content */\n"
    return (
        "".join(buffers)
        + "\n"
        + (reset if model.bundle.states else "")
        + f"{model.name}_invoke({', '.join(arguments)});\n"
    )


def _interpreter_calls(model: Model, joint: bool) -> str:
    name, upper = model.name, model.upper
    size = f"{upper}_INPUT{'' if len(model.inputs) == 1 else 0}_BYTES"
    return (
        f"static ek_model_t {name};\n"
        f"static const ek_kernel_t *{name}_slots[{upper}_BUNDLE_SLOTS];\n\n"
        f"/* Once: */\nek_open(&{name}, {name}_bundle, {upper}_BUNDLE_BYTES, ek_kernels, "
        f"ek_kernel_count,\n        {name}_slots, {upper}_BUNDLE_SLOTS, "
        f"{'ek_arena' if joint else 'arena'}, {upper}_BUNDLE_ARENA); /* EK_OK? */\n"
        "/* For each inference: */\n"
        f"memcpy(ek_input(&{name}, 0, NULL), sample, {size});\n"
        f"ek_invoke(&{name});\n/* ... ek_output(&{name}, 0, NULL) ... */\n"
    )


def _element_bytes(dtype: str) -> int:
    bits = "".join(c for c in dtype if c.isdigit())
    return int(bits) // 8 if bits else 1
