"""What there is to be timed of a bundle: variants with local sizes, equal ones once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from edgekit.bundle.gpu import Gpu, GpuLaunch

Size = tuple[int, int, int]


@dataclass(frozen=True)
class Candidate:
    """A variant of a layer with a local size for each of its launches.

    Attributes:
        key: the functions with their items and local sizes; equal keys do equal work.
        layer: the first call that has it; `layers` are all.
        variant: counted from the layer's first; `name` is its name.
        choice: of each launch, which of its local sizes; `sizes` are these.
    """

    key: str
    layer: int
    layers: tuple[int, ...]
    variant: int
    name: str
    choice: tuple[int, ...]
    sizes: tuple[Size, ...]


def candidates(gpu: Gpu) -> list[Candidate]:
    """All of them, the compiler's own local sizes of every variant before any others.

    Of a variant with several launches one is varied at a time.
    """
    found: dict[tuple[str, str], Candidate] = {}
    for layer, name, variant, launches in _variants(gpu):
        for choice in _choices(launches):
            sizes = tuple(
                _size(gpu, launch, which) for launch, which in zip(launches, choice, strict=True)
            )
            key = _key(gpu, launches, sizes)
            old = found.get((name, key))
            first, layers = (old.layer, old.layers) if old else (layer, ())
            number = old.variant if old else variant
            found[name, key] = Candidate(key, first, (*layers, layer), number, name, choice, sizes)
    return sorted(found.values(), key=lambda c: (any(c.choice), c.layer, c.variant, c.choice))


def _variants(gpu: Gpu) -> Iterator[tuple[int, str, int, tuple[GpuLaunch, ...]]]:
    for index, layer in enumerate(gpu.layers):
        for number in range(layer.variant_count):
            variant = gpu.variants[layer.first_variant + number]
            name = gpu.string(variant.name, variant.name_bytes)
            first = variant.first_launch
            yield index, name, number, gpu.launches[first : first + variant.launch_count]


def _choices(launches: tuple[GpuLaunch, ...]) -> Iterator[tuple[int, ...]]:
    own = (0,) * len(launches)
    yield own
    for i, launch in enumerate(launches):
        for which in range(1, launch.size_count):
            yield (*own[:i], which, *own[i + 1 :])


def _size(gpu: Gpu, launch: GpuLaunch, which: int) -> Size:
    size = gpu.sizes[launch.first_size + which]
    return (size.x, size.y, size.z)


def _key(gpu: Gpu, launches: tuple[GpuLaunch, ...], sizes: tuple[Size, ...]) -> str:
    parts = []
    for launch, size in zip(launches, sizes, strict=True):
        function = gpu.functions[launch.function]
        name = gpu.string(function.name, function.name_bytes)
        items = f"{launch.x},{launch.y},{launch.z}"
        parts.append(f"{name} {items} {','.join(map(str, size))}")
    return "; ".join(parts)
