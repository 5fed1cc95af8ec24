"""The C functions of a run: one starts its stream, one waits until a layer of it is done."""

from __future__ import annotations

from codegen.kernel import Kernel, KernelSpec, Operand
from codegen.npu.compile import Compiled
from targets.npu.config import Accelerator

FAMILY = "npu"


def begin(compiled: Compiled, a: Accelerator) -> Kernel:
    """Starts the stream and waits for the first layer. Operands: the stream and its constants, the
    run's inputs and outputs, and scratch memory where values are put aside."""
    sizes = compiled.region_bytes
    run, words = compiled.run, len(compiled.words)
    inputs = [f"x{i}" for i in range(len(run.inputs))]
    outputs = [f"y{i}" for i in range(len(run.outputs))]
    operands = [
        Operand("stream", "int32", words, "constant"),
        Operand("constants", "uint8", len(compiled.constants), "constant"),
        *(Operand(n, "int8", sizes[1 + i], "input") for i, n in enumerate(inputs)),
        *(Operand(n, "int8", sizes[1 + len(inputs) + i], "output") for i, n in enumerate(outputs)),
    ]
    params = {
        "npu_config": a.defines,
        "waits": list(compiled.waits[0]),
        "scratch": compiled.scratch_bytes,
        "regions": sizes,
    }
    spec = KernelSpec("npu_run", FAMILY, tuple(operands), params)
    pointers = ["constants", *inputs, *outputs, *(["scratch"] if compiled.scratch_bytes else [])]
    parameters = ["const int32_t *stream", "const uint8_t *constants"]
    parameters += [f"const int8_t *{n}" for n in inputs] + [f"int8_t *{n}" for n in outputs]
    parameters += ["void *scratch"] if compiled.scratch_bytes else []
    constant = ("constants", *inputs)
    rows = "".join(
        f"        {{{'(void *)(uintptr_t)' if p in constant else ''}{p}, {n}u}},\n"
        for p, n in zip(pointers, sizes, strict=True)
    )
    computed, transferred = compiled.waits[0]
    text = f"""\
/* {len(run.jobs)} layers as {len(compiled.commands)} commands for {a.name} */
void {spec.name}({", ".join(parameters)})
{{
    const ek_npu_region_t regions[] = {{
{rows}    }};
    ek_npu_start((const uint32_t *)stream, {words}u, regions, {len(sizes)}u);
    ek_npu_wait({computed}u, {transferred}u);
}}
"""
    rows = ", ".join(f"{n}u" for n in sizes)
    check = f"""\
    static const uint32_t regions[] = {{{rows}}};
    uint32_t error, command;
    return ek_npu_check((const uint32_t *)a[0], {words}u, regions, {len(sizes)}u, {a.word:#x}u,
                        &error, &command);
"""
    return Kernel(spec, text, compiled.scratch_bytes, check=check)


def wait() -> Kernel:
    """Waits until the engines have finished as many commands as its operand says."""
    spec = KernelSpec("npu_wait", FAMILY, (Operand("counts", "int32", 2, "constant"),), {})
    text = f"""\
/* waits for a layer of a stream that runs */
void {spec.name}(const int32_t *counts)
{{
    ek_npu_wait((uint32_t)counts[0], (uint32_t)counts[1]);
}}
"""
    return Kernel(spec, text, 0)
