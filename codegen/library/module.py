"""A compiled model: ``model = Model()``, ``y = model.run(x)``.

Needs numpy and the library beside this file. Written by edgekit.
"""

from __future__ import annotations

import ctypes
import os
import threading
import warnings
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

NAME = "model"
_FOLDER = Path(__file__).resolve().parent
_ALIGN = 64
_MEANINGS = {
    7: "memory that is not aligned",
    9: "the library is not the one that this module was written with",
    11: "the instance is closed",
    15: "the library has no program for this CPU, or none of that name",
}
#: Not errors: no GPU computes, and one was lost; the results are right.
_GPU_NONE, _GPU_LOST = 16, 14


class ModelError(Exception):
    """The library refused a call; `status` is its ek_status_t."""

    def __init__(self, call: str, status: int) -> None:
        super().__init__(f"{call}: {status}, {_MEANINGS.get(status, 'unknown status')}")
        self.status = status


@dataclass(frozen=True)
class Tensor:
    """An input or output: ``real = scale * (integer - zero_point)``.

    `shape` is that of the model file; where `layout` is "NCHW" the integers lie as NHWC.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int
    layout: str

    @property
    def sample_shape(self) -> tuple[int, ...]:
        """The shape of one sample: without the batch axis of 1, where there is one in front."""
        return self.shape[1:] if self.shape[:1] == (1,) else self.shape

    def integers(self, x: np.ndarray) -> np.ndarray:
        """Samples [n, ...] as the program takes them; an array of its own dtype as it is."""
        if str(x.dtype) == self.dtype:
            return x
        if x.dtype.kind not in "fiub":
            raise TypeError(f"input '{self.name}' is {x.dtype}, expected numbers")
        if self.dtype == "float32":
            return x.astype(np.float32)
        if self.dtype in ("int32", "bool"):
            kept = x.astype(self.dtype)
            if not np.array_equal(kept, x):
                raise ValueError(f"input '{self.name}' holds numbers that {self.dtype} does not")
            return kept
        # Halves go away from zero, in float32.
        ratio = x.astype(np.float32) / np.float32(self.scale)
        if not np.isfinite(ratio).all():
            raise ValueError(f"input '{self.name}' holds NaN or infinity")
        whole = np.trunc(ratio)
        whole = whole + np.copysign(np.abs(ratio - whole) >= 0.5, ratio)
        info = np.iinfo(self.dtype)
        limited = np.clip(whole.astype(np.float64) + self.zero_point, info.min, info.max)
        return limited.astype(self.dtype)

    def reals(self, q: np.ndarray) -> np.ndarray:
        """What integers stand for, float32; floats, indices and truth values as they are."""
        if self.dtype in ("float32", "int32", "bool"):
            return q
        return (q.astype(np.int64) - self.zero_point).astype(np.float32) * np.float32(self.scale)


@dataclass(frozen=True)
class Gpu:
    """Which GPU a model asks for.

    Attributes:
        device: part of "PLATFORM / DEVICE" in any case of letters, or "gpu" for one that says it is
            a GPU; "" for the first GPU, or where there is none the first device.
        api: "opencl" or "vulkan"; "" for OpenCL, and Vulkan where that has no device.
        library: the file of the API's library instead of the system's.
        folder: where built programs and results of tests are kept for the next start, made where
            it is missing; None for edgekit's in the user's cache, "" for nowhere.
        tuning: a file of choices that edgekit tune made; "" for the one in the folder.
        patience_ms: how long an inference may take until the device counts as lost; 0 for 20 s.
    """

    device: str = ""
    api: str = ""
    library: str = ""
    folder: str | None = None
    tuning: str = ""
    patience_ms: int = 0


@dataclass(frozen=True)
class Device:
    """A GPU that computes `device_layers` of a model's `layers`; `is_cpu` where it only says so."""

    api: str
    name: str
    driver: str
    is_cpu: bool
    layers: int
    device_layers: int


@dataclass(frozen=True)
class Layer:
    """Who computes a layer: `by` is the variant, or "CPU", and what became of other variants."""

    name: str
    op: str
    on_device: bool
    by: str


class _Info(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("dtype", ctypes.c_char_p),
        ("layout", ctypes.c_char_p),
        ("scale", ctypes.c_float),
        ("zero_point", ctypes.c_int32),
        ("nbytes", ctypes.c_uint32),
        ("dims", ctypes.c_uint32),
        ("shape", ctypes.c_uint32 * 8),
    )


class _Parallel(ctypes.Structure):
    _fields_ = (
        ("run", ctypes.c_void_p),
        ("pool", ctypes.c_void_p),
        ("threads", ctypes.c_uint32),
    )


_LOAD = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_char_p)
_SAY = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_char_p)


class _Loader(ctypes.Structure):
    _fields_ = (("load", _LOAD), ("symbol", ctypes.c_void_p))


class _Settings(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("api", "device", "library", "folder", "tuning")),
        ("patience_ms", ctypes.c_uint32),
        ("say", _SAY),
        ("context", ctypes.c_void_p),
    )


class _Summary(ctypes.Structure):
    _fields_ = (
        ("api", ctypes.c_char * 16),
        ("name", ctypes.c_char * 96),
        ("driver", ctypes.c_char * 96),
        ("why", ctypes.c_char * 256),
        ("is_cpu", ctypes.c_uint32),
        ("layers", ctypes.c_uint32),
        ("device_layers", ctypes.c_uint32),
    )


class _LayerSummary(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("op", ctypes.c_char_p),
        ("on_device", ctypes.c_uint32),
        ("by", ctypes.c_char * 256),
    )


class _Api:
    """The library's functions by name, without the model's."""

    def __init__(self, path: Path) -> None:
        self.library = ctypes.CDLL(str(path))
        model, index = ctypes.c_void_p, ctypes.c_uint32
        size = ctypes.POINTER(ctypes.c_uint32)
        status, info = ctypes.c_int, ctypes.POINTER(_Info)
        self._bind("open", status, model, ctypes.c_size_t, ctypes.c_char_p)
        self._bind("run_parallel", status, model, ctypes.POINTER(_Parallel))
        for name in ("run", "reset", "close"):
            self._bind(name, status, model)
        for name in ("input", "output"):
            self._bind(name, ctypes.c_void_p, model, index, size)
            self._bind(f"{name}_info", info, index)
        self._bind("target", ctypes.c_char_p, model)
        self._bind("threads", ctypes.c_uint32, model)
        self._bind("program", ctypes.c_char_p, index)
        self._bind("context_bytes", ctypes.c_size_t)
        self.has_gpu = hasattr(self.library, f"{NAME}_gpu_open_with")
        if self.has_gpu:
            loader, settings = ctypes.POINTER(_Loader), ctypes.POINTER(_Settings)
            self._bind("gpu_open_with", status, model, loader, settings)
            self._bind("gpu_summary", status, model, ctypes.POINTER(_Summary))
            self._bind("gpu_layer", status, model, index, ctypes.POINTER(_LayerSummary))

    def _bind(self, name: str, result: Any, *arguments: Any) -> None:
        function = getattr(self.library, f"{NAME}_{name}")
        function.restype, function.argtypes = result, arguments
        setattr(self, name, function)

    def __getattr__(self, name: str) -> Any:  # for type checkers: `_bind` sets them
        raise AttributeError(name)

    def tensors(self, word: str) -> tuple[Tensor, ...]:
        found: list[Tensor] = []
        while info := getattr(self, f"{word}_info")(len(found)):
            i = info.contents
            shape = tuple(i.shape[: i.dims])
            layout = i.layout.decode()
            if layout == "NCHW":
                shape = (shape[0], shape[3], shape[1], shape[2])
            found.append(
                Tensor(
                    i.name.decode(errors="replace"), shape, i.dtype.decode(),
                    i.scale, i.zero_point, layout,
                )
            )  # fmt: skip
        return tuple(found)


class Model:
    """One instance of the model: its memory, and where it wants some its threads.

    Args:
        threads: that share in an inference, the caller's included; the library was compiled for
            at most `most_threads`.
        target: which of `targets()` to run; None for the best that this CPU can run.
        gpu: True for the first GPU, a part of its name, or a `Gpu`. Where there is none the CPU
            computes, as it does from where a GPU is lost; both are warnings, and `why` says why.

    Several Python threads may use several instances at the same time, and one instance in turns.

    Raises:
        ModelError: the library has no program for this CPU.
        OSError: the library is not beside this file, or is for another architecture.
        ValueError: a GPU is asked for, and the library is for CPUs.
    """

    def __init__(
        self, threads: int = 1, target: str | None = None, gpu: bool | str | Gpu = False
    ) -> None:
        self._api = api = _Api(_FOLDER / f"lib{NAME}.so")
        nbytes = api.context_bytes()
        self._memory = ctypes.create_string_buffer(nbytes + _ALIGN)
        start = ctypes.addressof(self._memory)
        self._skip = -start % _ALIGN
        self._context = ctypes.c_void_p(start + self._skip)
        self._lock = threading.Lock()
        self._parallel: _Parallel | None = None
        name = None if target is None else target.encode()
        self._check("open", api.open(self._context, nbytes, name))
        self.said: list[str] = []  # what a GPU's runtime had to say
        if gpu:
            self._open_gpu(gpu if isinstance(gpu, Gpu) else Gpu("" if gpu is True else str(gpu)))
        self.inputs, self.outputs = api.tensors("input"), api.tensors("output")
        self._ins = [self._view(api.input, i, t) for i, t in enumerate(self.inputs)]
        self._outs = [self._view(api.output, i, t) for i, t in enumerate(self.outputs)]
        self.target: str = api.target(self._context).decode()
        self.most_threads: int = api.threads(self._context)
        if threads < 1:
            raise ValueError(f"{threads} threads, at least 1 is needed")
        if threads > 1:
            self._start(min(threads, self.most_threads))

    @staticmethod
    def targets() -> list[str]:
        """The CPUs that the library has programs for, the best first."""
        api = _Api(_FOLDER / f"lib{NAME}.so")
        found: list[str] = []
        while name := api.program(len(found)):
            found.append(name.decode())
        return found

    @property
    def gpu(self) -> Device | None:
        """The GPU that computes now; None where the CPU does."""
        s = self._summary()
        if s is None or s.device_layers == 0:
            return None
        api, name, driver = (t.decode(errors="replace") for t in (s.api, s.name, s.driver))
        return Device(api, name, driver, bool(s.is_cpu), s.layers, s.device_layers)

    @property
    def why(self) -> str:
        """Why no GPU computes; "" where one does."""
        s = self._summary()
        return "the library has nothing for a GPU" if s is None else s.why.decode(errors="replace")

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Who computes each layer; () where the library has nothing for a GPU."""
        found: list[Layer] = []
        info = _LayerSummary()
        with self._lock:
            while self._api.has_gpu and not self._api.gpu_layer(
                self._context, len(found), ctypes.byref(info)
            ):
                texts = [t.decode(errors="replace") for t in (info.name, info.op, info.by)]
                found.append(Layer(texts[0], texts[1], bool(info.on_device), texts[2]))
        return tuple(found)

    def run(self, *inputs: Any, raw: bool = False) -> Any:
        """One inference, or one for each of n samples [n, ...], in order.

        An array whose dtype is exactly that of the input is the program's integers, every other
        one real numbers. Both have the model file's layout.

        Args:
            inputs: one array for each input, or a mapping from their names.
            raw: results as integers instead of float32.

        Returns:
            The output's array, or where the model has several a dict of them by name.

        Raises:
            TypeError, ValueError: arrays that do not fit.
            ModelError: the instance is closed.
        """
        if len(inputs) == 1 and isinstance(inputs[0], Mapping):
            inputs = self._by_name(inputs[0])
        if len(inputs) != len(self.inputs):
            raise TypeError(f"{len(inputs)} inputs given, the model has {len(self.inputs)}")
        samples, counts = [], set()
        for tensor, x in zip(self.inputs, inputs, strict=True):
            x = np.asarray(x)
            alone = x.shape == tensor.sample_shape
            x = x[None] if alone else x
            if x.shape[1:] != tensor.sample_shape:
                wanted = ", ".join(map(str, tensor.sample_shape))
                raise ValueError(
                    f"input '{tensor.name}' has shape {list(x.shape)}, expected [n, {wanted}]"
                )
            counts.add((alone, len(x)))
            samples.append(_to_memory(tensor, tensor.integers(x)))
        if len(counts) > 1:
            raise ValueError("inputs have different numbers of samples")
        alone, count = counts.pop()
        results = [np.empty((count, *out.shape), out.dtype) for out in self._outs]
        with self._lock:
            for n in range(count):
                for memory, x in zip(self._ins, samples, strict=True):
                    memory[...] = x[n]
                self._infer()
                for out, memory in zip(results, self._outs, strict=True):
                    out[n] = memory
        named = {}
        for tensor, q in zip(self.outputs, results, strict=True):
            y = _from_memory(tensor, q)
            y = y if raw else tensor.reals(y)
            named[tensor.name] = y[0] if alone else y
        return named if len(named) != 1 else next(iter(named.values()))

    def reset(self) -> None:
        """Give the states of a streaming or recurrent model their initial content again."""
        with self._lock:
            self._check("reset", self._api.reset(self._context))

    def close(self) -> None:
        """End the threads and give a GPU back; every later call raises ModelError."""
        with self._lock:
            self._api.close(self._context)
            if self._parallel is not None:
                self._parallel = None
                self._end_pool()

    def __enter__(self) -> Model:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _infer(self) -> None:
        if self._parallel is None:
            status = self._api.run(self._context)
        else:
            status = self._api.run_parallel(self._context, ctypes.byref(self._parallel))
        if status == _GPU_LOST:
            lost = f"{NAME}: the GPU is lost, the CPU computes from now on"
            warnings.warn(lost, RuntimeWarning, stacklevel=3)
        else:
            self._check("run", status)

    def _summary(self) -> _Summary | None:
        found = _Summary()
        if self._api.has_gpu:
            with self._lock:
                self._check("gpu_summary", self._api.gpu_summary(self._context, found))
        return found if self._api.has_gpu else None

    def _open_gpu(self, wanted: Gpu) -> None:
        if not self._api.has_gpu:
            raise ValueError(f"{NAME}: the library is for CPUs, it has nothing for a GPU")
        folder = wanted.folder
        if folder is None:
            folder = self._cache()
        elif folder:
            os.makedirs(folder, exist_ok=True)
        texts = (wanted.api, wanted.device, wanted.library, folder, wanted.tuning)
        # Called during inferences too: it lives as long as the model.
        said = self.said
        self._say = _SAY(lambda _, line: said.append(line.decode(errors="replace")))
        settings = _Settings(*map(os.fsencode, texts), wanted.patience_ms, self._say, None)
        loader = _Loader(_load, ctypes.cast(ctypes.CDLL(None).dlsym, ctypes.c_void_p))
        status = self._api.gpu_open_with(self._context, loader, settings)
        if status == _GPU_NONE:
            warnings.warn(f"{NAME}: the CPU computes: {self.why}", RuntimeWarning, stacklevel=3)
        else:
            self._check("gpu_open_with", status)
            weakref.finalize(self, _close, self._api, self._context, self._memory)

    def _cache(self) -> str:
        """edgekit's folder in the user's cache, made where it is missing; "" where it cannot be."""
        base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.path.join(base, "edgekit")
        try:
            os.makedirs(folder, exist_ok=True)
        except OSError as error:
            self.said.append(f"nothing is kept for the next start: {error}")
            return ""
        return folder

    def _start(self, threads: int) -> None:
        library = ctypes.CDLL(str(_FOLDER / "libek_pool.so"))
        library.ek_pool_threads.restype = _Parallel
        library.ek_pool_bytes.restype = ctypes.c_size_t
        pool = ctypes.create_string_buffer(library.ek_pool_bytes() + _ALIGN)
        start = ctypes.addressof(pool)
        at = ctypes.c_void_p(start + -start % _ALIGN)
        error = library.ek_pool_open(at, ctypes.c_uint32(threads))
        if error:
            raise OSError(error, f"cannot start {threads} threads")
        self._pool = pool
        self._parallel = library.ek_pool_threads(at)
        # The buffer goes with the arguments: it lives until the threads have ended.
        self._end_pool = weakref.finalize(self, _end_pool, library, at, pool)

    def _view(self, find: Any, i: int, tensor: Tensor) -> np.ndarray:
        size = ctypes.c_uint32()
        at = find(self._context, i, ctypes.byref(size)) - ctypes.addressof(self._memory)
        shape = tensor.sample_shape
        if tensor.layout == "NCHW":
            shape = (*shape[1:], shape[0])
        flat = np.frombuffer(memoryview(self._memory), tensor.dtype, int(np.prod(shape)), at)
        return flat.reshape(shape)

    def _by_name(self, given: Mapping[str, Any]) -> tuple[Any, ...]:
        names = [t.name for t in self.inputs]
        if set(given) != set(names):
            raise TypeError(f"inputs {sorted(given)} given, the model has {sorted(names)}")
        return tuple(given[name] for name in names)

    def _check(self, call: str, status: int) -> None:
        if status:
            raise ModelError(call, status)


def _to_memory(tensor: Tensor, x: np.ndarray) -> np.ndarray:
    return x.transpose(0, 2, 3, 1) if tensor.layout == "NCHW" else x


def _from_memory(tensor: Tensor, y: np.ndarray) -> np.ndarray:
    return y.transpose(0, 3, 1, 2) if tensor.layout == "NCHW" else y


@_LOAD
def _load(name: bytes) -> int | None:
    try:
        return ctypes.CDLL(os.fsdecode(name))._handle
    except OSError:
        return None


def _close(api: Any, context: Any, memory: Any) -> None:
    api.close(context)


def _end_pool(library: Any, at: Any, pool: Any) -> None:
    library.ek_pool_close(at)
