"""What a device program says of its GPU, and what a user has to know of that."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from edgekit.errors import EdgekitError
from targets import Board
from targets.linux import BIONIC

#: Said wherever a time of such a device is shown.
A_CPU = "the device is a CPU: not a GPU's speed"


_ON_A_PC = (
    "edgekit doctor lists what OpenCL offers on this machine; on Debian or Ubuntu "
    "pocl-opencl-icd and mesa-opencl-icd bring devices that are CPUs"
)
_ON_A_PHONE = (
    "the vendor of a phone brings OpenCL, or does not; [settings.adb] environment of a board file "
    "of your own may name it with EDGEKIT_OPENCL_LIBRARY, or Vulkan with EDGEKIT_GPU_API=vulkan"
)


#: Words of `ek_gpu_verdict_t`.
VERDICTS = (
    *("untried", "right", "needs a feature", "did not compile", "does not start"),
    *("wrong bytes", "device lost", "wrong as a whole"),
)


@dataclass(frozen=True)
class Timing:
    """What became of a timed variant: a number of `VERDICTS`, and the fastest run in ns."""

    verdict: int
    detail: int
    ns: int

    @property
    def right(self) -> bool:
        return self.verdict == VERDICTS.index("right")


@dataclass(frozen=True)
class Choice:
    """What a tuning file says of a layer: a variant's name, and a local size for each launch."""

    layer: int
    variant: str
    sizes: tuple[tuple[int, int, int], ...]


def tuning_file(gpu: Gpu, bundle_hash: bytes, choices: Sequence[Choice]) -> bytes:
    """The choices for one device, driver and bundle, as firmware/gpu/ek_gpu_kept.c reads them."""
    lines = [
        "edgekit-tuning 1",
        f"device {gpu.device}",
        f"driver {gpu.driver}",
        f"bundle {bundle_hash.hex()}",
    ]
    for choice in choices:
        sizes = " ".join(",".join(map(str, size)) for size in choice.sizes)
        lines.append(f"layer {choice.layer} {len(choice.sizes)} {sizes} {choice.variant}")
    text = "".join(f"{line}\n" for line in lines).encode()
    return text + f"end {zlib.crc32(text):08x}\n".encode()


@dataclass(frozen=True)
class Gpu:
    """A device as its program describes it.

    Attributes:
        is_cpu: it computes on the CPU.
        layers: what computes each layer, and why nothing before it could.
        said: what the runtime had to say, in order.
        why: why there is no device; "" where there is one.
    """

    device: str = ""
    driver: str = ""
    api: str = ""
    is_cpu: bool = False
    layers: tuple[str, ...] = ()
    said: tuple[str, ...] = ()
    why: str = ""
    on_cpu: tuple[int, ...] = field(default=())

    @staticmethod
    def parse(lines: list[str]) -> Gpu:
        """From the lines of firmware/app/ek_app_gpu.h."""
        words: dict[str, list[str]] = {}
        for line in lines:
            word, _, text = line.partition(" ")
            words.setdefault(word, []).append(text)

        def one(word: str) -> str:
            return words.get(word, [""])[0]

        layers = tuple(text.partition(" ")[2] for text in words.get("layer", []))
        return Gpu(
            device=one("device"),
            driver=one("driver"),
            api=one("api"),
            is_cpu=one("cpu") == "1",
            layers=layers,
            said=tuple(words.get("said", [])),
            why=one("why"),
            on_cpu=tuple(i for i, text in enumerate(layers) if text.startswith("CPU")),
        )

    def check(self, board: Board) -> None:
        """Raises EdgekitError E670 where there is no device."""
        if self.why:
            raise EdgekitError(
                "E670",
                f"board '{board.name}' has no GPU that its program can use: {self.why}",
                help=_ON_A_PHONE if board.libc == BIONIC else _ON_A_PC,
            )

    def notices(self) -> list[str]:
        """Sentences on everything that is not as it should be."""
        found = [f"GPU: {line}" for line in self.said]
        if self.on_cpu:
            found.append(
                f"GPU: {len(self.on_cpu)} of {len(self.layers)} layers run on the CPU: "
                + "; ".join(f"{i} {self.layers[i]}" for i in self.on_cpu[:5])
                + ("; ..." if len(self.on_cpu) > 5 else "")
            )
        return found
