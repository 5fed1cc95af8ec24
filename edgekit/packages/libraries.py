"""Compiled libraries of one model, by architecture: what prebuilt forms of packages are made of."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit.packages.contents import Contents
from edgekit.packages.ctext import fill, one_line, template
from edgekit.packages.example import check_files
from edgekit.packages.labels import PREBUILT


@dataclass(frozen=True)
class Built:
    """A library for one architecture ("aarch64", "arm", "x86_64"): the files that `edgekit library`
    writes, by name, the targets that it has programs for, the best first, and whether one of them
    has GPUs."""

    architecture: str
    targets: tuple[str, ...]
    files: Mapping[str, bytes]
    gpu: bool = False


@dataclass(frozen=True)
class Libraries:
    """Libraries ready to be packed; `contents` is the model as the first folder has it."""

    contents: Contents
    built: tuple[Built, ...]

    @property
    def name(self) -> str:
        return self.contents.name

    @property
    def edgekit(self) -> str:
        return self.contents.edgekit

    @property
    def version(self) -> str:
        return self.contents.version

    @property
    def public(self) -> tuple[str, ...]:
        """Headers that users include."""
        return (f"{self.name}.h",)

    @property
    def targets(self) -> str:
        """CPUs, as people read them."""
        return ", ".join(target for built in self.built for target in built.targets)

    @property
    def summary(self) -> dict[str, Any]:
        """What the package's marker says of it."""
        return {
            **self.contents.summary,
            "target": self.targets,
            "mode": "library",
            "architectures": [built.architecture for built in self.built],
        }

    @property
    def header(self) -> bytes:
        """``NAME.h``; those of all architectures have one API."""
        return self.built[0].files[f"{self.name}.h"]

    def header_of(self, built: Built) -> bytes:
        return built.files[f"{self.name}.h"]

    @property
    def pool(self) -> dict[str, bytes]:
        """The pool of threads as source, and the header that it needs."""
        names = ("ek_pool.h", "ek_pool.c", "ek_parallel.h")
        return {name: self.built[0].files[name] for name in names}

    @property
    def gpus(self) -> tuple[str, ...]:
        """Architectures whose library computes on GPUs too."""
        return tuple(built.architecture for built in self.built if built.gpu)

    @property
    def names(self) -> dict[str, object]:
        """What most templates name."""
        return {
            "name": self.name,
            "upper": self.contents.upper,
            "version": self.version,
            "edgekit": self.edgekit,
            "model": self.contents.files,
            "targets": self.targets,
            "total": self.contents.output_bytes,
            "gpus": " and ".join(self.gpus),
        }


def papers(libraries: Libraries, form: str, title: str, steps: str) -> dict[str, bytes]:
    """Licence, notice and README; `steps` is Markdown of how to use the form."""
    values = {**libraries.names, "steps": steps, "title": title, "label": PREBUILT[form]}
    values["gpu"] = fill("prebuilt/gpu.md", **libraries.names) if libraries.gpus else ""
    readme = fill("prebuilt/README.md", **values, table=_table(libraries), calls=calls(libraries))
    return {
        "README.md": readme.encode(),
        "NOTICE": fill("NOTICE", **libraries.names).encode(),
        "LICENSE": template("LICENSE").encode(),
    }


def _table(libraries: Libraries) -> str:
    model = libraries.contents.models[0]
    rows = [
        (f"{word} '{one_line(t.name).replace('|', '/')}'",
         f"{'x'.join(map(str, t.shape))} {t.dtype}, {t.nbytes} B")
        for word, tensors in (("input", model.inputs), ("output", model.outputs))
        for t in tensors
    ]  # fmt: skip
    for built in libraries.built:
        size = len(built.files[f"lib{libraries.name}.so"])
        programs = f"programs for {', '.join(built.targets)}"
        rows.append((f"library for {built.architecture}", f"{size} B, {programs}"))
        rows.append((f"instance on {built.architecture}", f"{context_bytes(libraries, built)} B"))
    return "\n".join(f"| {left} | {right} |" for left, right in rows)


def context_bytes(libraries: Libraries, built: Built) -> int:
    """Bytes of an instance, as the header says."""
    found = re.search(r"_CONTEXT_BYTES (\d+)u", libraries.header_of(built).decode())
    assert found is not None
    return int(found[1])


def calls(libraries: Libraries) -> str:
    """How a program calls the library: a few lines of C."""
    name = libraries.name
    model = libraries.contents.models[0]
    copies = "".join(
        f"memcpy({name}_input(&model, {i}, NULL), sample{i}, {t.nbytes});\n"
        for i, t in enumerate(model.inputs)
    )
    return (
        f'#include "{name}.h"\n\nstatic {name}_t model;\n\n'
        f"{name}_open(&model, sizeof model, NULL); /* once; EK_OK? */\n"
        f"{copies}{name}_run(&model);\n/* ... {name}_output(&model, 0, NULL) ... */\n"
    )


def example_files(libraries: Libraries) -> dict[str, bytes]:
    """A program of one file that runs the golden sample and counts equal bytes."""
    name, model = libraries.name, libraries.contents.models[0]
    golden = f"{name}_golden.h"
    copies = "".join(
        f"    memcpy({name}_input(&model, {i}u, NULL), {name}_golden_input{i}, {t.nbytes});\n"
        for i, t in enumerate(model.inputs)
    )
    counts = "".join(
        f"    equal += equal_bytes({name}_output(&model, {i}u, NULL), {name}_golden_output{i}, "
        f"{t.nbytes}u);\n"
        for i, t in enumerate(model.outputs)
    )
    main = fill("prebuilt/main.c", **libraries.names, copies=copies, counts=counts)
    return {"main.c": main.encode(), golden: check_files(libraries.contents)[golden]}
