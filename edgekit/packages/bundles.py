"""Bundles as C, for build systems that take nothing else."""

from __future__ import annotations

from edgekit.bundle import TensorInfo
from edgekit.devices.firmware.model import RUNTIME_FOLDER
from edgekit.packages.contents import Model
from edgekit.packages.ctext import byte_array, fill, one_line

#: `ek_open` wants it.
_ALIGN = 16


def bundle_files(model: Model, *, joint: bool) -> dict[str, bytes]:
    """``NAME_bundle.c`` and ``NAME_bundle.h``, which has the sizes and what opens it.

    `joint`: the model shares an arena with others, whose header is ek_models.h.
    """
    kernels, arena = "EK_MODEL_KERNELS", "EK_MODEL_ARENA_BYTES"
    if joint:
        kernels, arena = f"{model.upper}_KERNELS", "EK_ARENA_BYTES"
    header = fill(
        "bundle.h",
        name=model.name,
        upper=model.upper,
        runtime=RUNTIME_FOLDER,
        config="ek_models.h" if joint else "model_config.h",
        nbytes=len(model.bundle_file),
        kernels=kernels,
        arena=arena,
        tensors="".join(
            _tensor(model, word if len(tensors) == 1 else f"{word}{i}", t)
            for word, tensors in (("INPUT", model.inputs), ("OUTPUT", model.outputs))
            for i, t in enumerate(tensors)
        ),
    )
    source = (
        f"/* The bundle of model '{model.name}'. Generated. */\n"
        f'#include "{model.name}_bundle.h"\n\n'
        f"const {byte_array(f'{model.name}_bundle', model.bundle_file, _ALIGN)}"
    )
    return {f"{model.name}_bundle.h": header.encode(), f"{model.name}_bundle.c": source.encode()}


def _tensor(model: Model, word: str, tensor: TensorInfo) -> str:
    shape = "x".join(map(str, tensor.shape))
    prefix = f"{model.upper}_{word}"
    return (
        f"\n/* '{one_line(tensor.name)}', {shape}: "
        f"real = scale * ({tensor.dtype} - zero point). */\n"
        f"#define {prefix}_BYTES {tensor.nbytes}u\n"
        f"#define {prefix}_SCALE {tensor.scale!r}f\n"
        f"#define {prefix}_ZERO_POINT ({tensor.zero_point})\n"
    )
