""".pt2 files without PyTorch: what a network needs gets through, what could run code does not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.pt2 import cleaned

LEAF = {"type": None, "context": None, "children_spec": []}
META = {
    "dtype": 7, "sizes": [{"as_int": 1}, {"as_int": 4}], "requires_grad": False,
    "device": {"type": "cpu", "index": None}, "strides": [{"as_int": 4}, {"as_int": 1}],
    "storage_offset": {"as_int": 0}, "layout": 7,
}  # fmt: skip


def spec(kind: str, context: str, *children: Any) -> dict[str, Any]:
    return {"type": kind, "context": context, "children_spec": list(children)}


def document() -> dict[str, Any]:
    """What torch.export.save of torch 2.13 writes for ``{"y": relu(x) + w}``."""
    inputs = spec("builtins.tuple", "null", spec("builtins.tuple", "null", LEAF),
                  spec("builtins.dict", "[]"))  # fmt: skip
    outputs = spec("builtins.dict", '["y"]', LEAF)
    x, w, y = ({"as_tensor": {"name": n}} for n in ("x", "w", "relu"))
    relu = {
        "target": "torch.ops.aten.relu.default", "name": "relu", "outputs": [y],
        "inputs": [{"name": "self", "arg": x, "kind": 1}], "is_hop_single_tensor_return": None,
        "metadata": {"stack_trace": "File 'a.py'", "torch_fn": "relu_1;builtin.relu"},
    }  # fmt: skip
    return {
        "graph_module": {
            "graph": {
                "inputs": [w, x], "outputs": [y], "nodes": [relu],
                "tensor_values": {"x": META, "w": META, "relu": META}, "sym_int_values": {},
                "sym_bool_values": {}, "sym_float_values": {}, "custom_obj_values": {},
                "is_single_tensor_return": False,
            },
            "signature": {
                "input_specs": [
                    {"parameter": {"arg": {"name": "w"}, "parameter_name": "l.w"}},
                    {"user_input": {"arg": x}},
                ],
                "output_specs": [{"user_output": {"arg": y}}],
            },
            "module_call_graph": [
                {"fqn": "", "signature": {
                    "inputs": [], "outputs": [], "in_spec": json.dumps([1, inputs]),
                    "out_spec": json.dumps([1, outputs]), "forward_arg_names": ["x"]}},
            ],
            "metadata": {}, "treespec_namedtuple_fields": {},
        },
        "opset_version": {"aten": 10}, "range_constraints": {},
        "schema_version": {"major": 8, "minor": 20}, "verifiers": ["TRAINING"],
        "torch_version": "2.13.0+cpu", "guards_code": [],
    }  # fmt: skip


def weights(**changes: Any) -> dict[str, Any]:
    entry = {"path_name": "weight_0", "is_param": True, "use_pickle": False, "tensor_meta": META}
    return {"config": {"l.w": {**entry, **changes}}}


def archive(doc: Any, table: Any = None, **more: bytes) -> bytes:
    files = {
        "archive_format": b"pt2", "archive_version": b"0",
        "models/model.json": json.dumps(doc).encode(),
        "data/weights/model_weights_config.json": json.dumps(table or weights()).encode(),
        "data/weights/weight_0": bytes(16),
        "data/constants/model_constants_config.json": b'{"config": {}}',
        "data/sample_inputs/model.pt": b"a pickle", **more,
    }  # fmt: skip
    return pack({f"m/{name}": data for name, data in files.items()})


def graph(doc: Any) -> Any:
    return doc["graph_module"]["graph"]


def test_what_a_network_needs_is_kept_and_the_rest_left_behind() -> None:
    doc = document()
    doc["guards_code"] = ["__import__('os').system('true')"]
    graph(doc)["custom_obj_values"] = {"o": {"name": "o", "class_fqn": "a.B"}}
    extra = {"extra/notes.txt": b"hello", "data/constants/custom_obj_0": b"a pickle"}
    kept = Archive(cleaned(archive(doc, **extra), "m.pt2"), "cleaned")
    assert kept.read("model/data/weights/weight_0") == bytes(16)
    assert kept.read("model/data/sample_inputs/model.pt") == b""
    assert not [name for name in kept.sizes if "extra" in name or "custom_obj" in name]
    result = json.loads(kept.read("model/models/model.json"))
    assert result["guards_code"] == [] and graph(result)["custom_obj_values"] == {}
    want = document()
    graph(want)["nodes"][0]["metadata"] = {}
    assert result == want


def node(**changes: Any) -> Callable[[Any], None]:
    return lambda doc: graph(doc)["nodes"][0].update(changes)


def operand(argument: Any) -> Callable[[Any], None]:
    return lambda doc: graph(doc)["nodes"][0]["inputs"][0].update(arg=argument)


def size(expression: str) -> Callable[[Any], None]:
    return lambda doc: graph(doc)["sym_int_values"].update(
        s={"as_expr": {"expr_str": expression, "hint": None}}
    )


def described(side: str, tree: Any) -> Callable[[Any], None]:
    def change(doc: Any) -> None:
        doc["graph_module"]["module_call_graph"][0]["signature"][side] = json.dumps([1, tree])

    return change


ENUM = '{"__enum__": true, "fqn": "antigravity:X", "name": "Y"}'
CODE = {
    "another module's function": node(target="torch.utils.cpp_extension.load_inline"),
    "a function of operator": node(target="_operator.attrgetter"),
    "an operator that opens files": node(target="torch.ops.aten.from_file.default"),
    "another library's operator": node(target="torch.ops.mine.run.default"),
    "an extension": node(target="#mine:run"),
    "a subgraph": operand({"as_graph": {"name": "g", "graph": {}}}),
    "a custom object": operand({"as_custom_obj": {"name": "o", "class_fqn": "a.B"}}),
    "a function as an operand": operand({"as_operator": "torch.hub.load"}),
    "a path as an operand": operand({"as_string": "/etc/passwd"}),
    "Python as a size": size("__import__('os').system('true')"),
    "a call as a size": size("Mod(s0, 2)"),
    "a call by its attribute as a size": size("Symbol('s0').func('x')"),
    "another argument of a symbol": size("Symbol('s0', real=True)"),
    "a power as a size": size("9**9**9"),
    "a name that is source": node(name="x=__import__('os'); y"),
    "an output that is source": node(outputs=[{"as_tensor": {"name": "a, b = 1"}}]),
    "a table key that is source": lambda doc: graph(doc)["tensor_values"].update({"a b": META}),
    "an enum by its module": described("out_spec", spec("builtins.dict", f"[{ENUM}]", LEAF)),
    "a type by its name": described("in_spec", spec("my.Type", "null", LEAF)),
    "an argument that is source": described("in_spec", spec("builtins.dict", '["a=1"]', LEAF)),
    "a field that is not known": lambda doc: doc.update(hooks=["x"]),
}


@pytest.mark.parametrize("what", CODE)
def test_code_is_refused(what: str) -> None:
    doc = copy.deepcopy(document())
    CODE[what](doc)
    with pytest.raises(EdgekitError) as refusal:
        cleaned(archive(doc), "m.pt2")
    assert refusal.value.code == "E161"
    assert "torch.export.save" in refusal.value.help


SYMBOL = "Symbol('s31', positive=True, integer=True)"


@pytest.mark.parametrize(
    "expression",
    [
        SYMBOL,
        f"FloorDiv(Add({SYMBOL}, Integer(-3)), Integer(2))",
        "s0",
        "s77 + 1",
        "2*s0 - s1",
        "-u3",
        "12",
    ],
)
def test_plain_sizes_pass(expression: str) -> None:
    doc = document()
    size(expression)(doc)
    cleaned(archive(doc), "m.pt2")


@pytest.mark.parametrize(
    "table", [weights(use_pickle=True), weights(use_pickle=0), weights(path_name="custom_obj_0"),
              weights(path_name="../../weight_0")]
)  # fmt: skip
def test_weights_that_are_pickles_are_refused(table: Any) -> None:
    with pytest.raises(EdgekitError, match=r"pickle|weight_0") as refusal:
        cleaned(archive(document(), table), "m.pt2")
    assert refusal.value.code == "E161"


def test_a_compiled_library_is_refused() -> None:
    files = {"m/archive_format": b"pt2", "m/data/aotinductor/model/a.so": b"\x7fELF"}
    with pytest.raises(EdgekitError, match="compiled library") as refusal:
        cleaned(pack(files), "m.pt2")
    assert refusal.value.code == "E161"


HUGE = {**META, "sizes": [{"as_int": 1 << 40}], "strides": [{"as_int": 0}]}


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (archive(document(), weights(tensor_meta=HUGE)), "needs more than the 16 bytes"),
        (archive(document(), weights(tensor_meta=None)), "no type or sizes"),
        (archive(document(), weights(path_name="weight_1")), "is missing"),
        (archive([]), "no graph"),
        (archive(document(), **{"models/model.json": b"{"}), "no JSON"),
        (archive(document(), **{"models/model.json": b"[" * 5000}), "nested 5000 deep"),
        (archive(document())[:-30], "table of contents"),
        (pack({"m/archive_format": b"pt2"}), "models/model.json"),
    ],
)
def test_damaged_archives(data: bytes, word: str) -> None:
    with pytest.raises(EdgekitError, match=word) as refusal:
        cleaned(data, "m.pt2")
    assert refusal.value.code == "E164"
