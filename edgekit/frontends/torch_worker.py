"""The process that turns a cleaned .pt2 file into ONNX."""

from __future__ import annotations

from pathlib import Path

from edgekit.errors import EdgekitError
from edgekit.frontends.pt2 import SAFE
from edgekit.frontends.text import first_line
from edgekit.frontends.torch_onnx import quiet, write_onnx
from edgekit.frontends.worker import answer


def convert(kind: str, source: Path, result: Path) -> None:
    import torch

    torch.set_num_threads(1)
    with quiet():
        try:
            program = torch.export.load(source)
        except Exception as error:  # torch raises all kinds
            raise EdgekitError(
                "E162",
                f"torch.export.load of torch {torch.__version__} refuses it: {first_line(error)}",
                help=f"{SAFE}, with the version of torch that is installed here",
            ) from None
    write_onnx(program, result)


if __name__ == "__main__":
    answer(convert)
