"""From a kernel's spec to its C text, through TVM or from the cache."""

from __future__ import annotations

import json
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from codegen.kernel import Kernel, KernelSpec
from codegen.schedules import families
from codegen.templates import templates
from codegen.tvm_api import PINNED
from edgekit.errors import EdgekitError
from edgekit.toolchain.cache import cached, key_of


def emit(spec: KernelSpec) -> Kernel:
    """The kernel of `spec`. TVM is only loaded where the cache does not have its text.

    Raises:
        EdgekitError: E320 where the installed TVM is not the pinned one.
    """
    if "template" in spec.params:
        return _written(spec)
    key = key_of((generator_hash(), spec.key))
    path = cached(key, ".json", lambda out: _generate(spec, out))
    stored = json.loads(path.read_text())
    return Kernel(spec, stored["text"], stored["scratch_bytes"], units=stored["units"])


@cache
def generator_hash() -> str:
    """Hash of this package's own source, so that no kernel outlives the code that made it."""
    folder = Path(__file__).parent
    sources = sorted(folder.rglob("*.py"))
    return key_of([*PINNED.values(), *(p.read_bytes() for p in sources)])


def _generate(spec: KernelSpec, out: Path) -> None:
    require_pins()
    from codegen.cprinter import print_function
    from codegen.tvm_api import lower

    schedule = families()[spec.op][spec.family].schedule(spec.params)
    printed = print_function(
        lower(schedule),
        spec.name,
        written={o.name for o in spec.operands if o.role == "output"},
        aliased={o.name for o in spec.operands if o.alias},
        words=spec.family == "rv_cfu",
        parts=bool(spec.params.get("parts")),
    )
    text = f"/* {spec.op} ({spec.family}): {_describe(spec)} */\n{printed.text}"
    out.write_text(
        json.dumps({"text": text, "scratch_bytes": printed.scratch_bytes, "units": printed.units})
    )


def _written(spec: KernelSpec) -> Kernel:
    """A kernel of a template: text at once, no TVM and no file."""
    if spec.key not in _texts:
        _texts[spec.key] = _write(spec)
    return _texts[spec.key]


#: Kernels of templates by the key of their spec.
_texts: dict[str, Kernel] = {}


def _write(spec: KernelSpec) -> Kernel:
    written = templates()[spec.family][spec.params["template"]].write(spec)
    text = f"/* {spec.op} ({spec.family}, {spec.params['template']}): {_describe(spec)} */\n"
    return Kernel(
        spec, text + written.text, written.scratch_bytes, written.parts, units=written.units
    )


def _describe(spec: KernelSpec) -> str:
    p = spec.params
    if "kernel" in p:
        return (
            f"{p['H']}x{p['W']}x{p['C']} to {p['OH']}x{p['OW']}x{p.get('O', p['C'])}, "
            f"kernel {p['kernel'][0]}x{p['kernel'][1]}, strides {p['strides'][0]}x{p['strides'][1]}"
        )
    return ", ".join(f"{o.name} {o.count} {o.dtype}" for o in spec.operands)


def require_pins() -> None:
    """E320 where the installed TVM is not the pinned one."""
    # With another version of tvm-ffi, tensorize ends the process instead of raising.
    for package, wanted in PINNED.items():
        try:
            found = version(package)
        except PackageNotFoundError:
            found = "none"
        if found != wanted:
            raise EdgekitError(
                "E320",
                f"kernel generation needs {package} {wanted}, found {found}",
                help=f"pip install {package}=={wanted}",
            )
