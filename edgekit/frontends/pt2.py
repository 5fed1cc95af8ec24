"""PyTorch's .pt2 files (torch.export.save), made safe to load.

`torch.export.load` of torch 2.13 runs code that a file brings along, in at least these ways:
sample inputs, tensor subclasses and custom objects are pickles; packages of AOTInductor are shared
libraries; symbolic sizes go through `sympy.sympify`, which evaluates Python; guards are Python
source; an operator's name is looked up anywhere below `torch`, `math` and `operator`; the
description of inputs and outputs may name a module to import; and values' names become part of the
source of a function that is then compiled.

So no file gets there. What a network needs (its graph, and weights as raw bytes) is read here with
the standard library alone, checked against the lists below, and written to a new archive; the rest
is left behind, and what would be needed but is not on the lists is refused.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

from edgekit.errors import EdgekitError
from edgekit.frontends.archive import Archive, pack
from edgekit.frontends.documents import parse

#: Operators: PyTorch's own, and taking one of several results.
_TARGET = re.compile(r"torch\.ops\.aten\.[A-Za-z0-9_]+\.[A-Za-z0-9_]+|_operator\.getitem")
_FILES = ("from_file", "_from_file", "save", "load")  # of operators that touch the file system
#: Names of values, which become variables of generated Python, and of parameters and modules.
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,250}")
_DOTTED = re.compile(r"[A-Za-z0-9_.+-]{0,500}")
_VARIABLES = ("name", "as_name", "forward_arg_names", "user_input_name")
#: Keys of results that are dicts; they name the model's outputs.
_KEY = re.compile(r"[\w .:/-]{1,100}")
#: Modes such as "replicate"; no path, no source.
_WORD = re.compile(r"[a-z0-9_]{0,32}")
#: Sizes: symbols, numbers, and sums, products and quotients of these, as SymPy prints them.
_TERM = r"(?:[su]\d{1,9}|\d{1,9})"
_CALLS = (
    r"(?:Symbol\('[su]\d{1,9}'(?:, (?:positive|nonnegative|integer)=True){0,3}\)"
    r"|Integer\(-?\d{1,9}\)|(?:Add|Mul|FloorDiv|Max|Min)\(|, |\))"
)
_EXPRESSION = re.compile(rf"-?{_TERM}(?: ?[*+-] ?{_TERM}){{0,8}}|{_CALLS}{{1,100}}")
_PAYLOAD = re.compile(r"(?:weight|tensor)_\d{1,6}")
#: Containers of inputs and outputs. Any other type would be imported by its name.
_CONTAINERS = (None, "builtins.tuple", "builtins.list", "builtins.dict", "collections.OrderedDict")
#: Every field that may occur. The values of those in _BY_NAME are tables with free keys.
_KNOWN = (
    "graph_module opset_version range_constraints schema_version verifiers torch_version "
    "guards_code graph signature module_call_graph metadata treespec_namedtuple_fields inputs "
    "outputs nodes tensor_values sym_int_values sym_bool_values sym_float_values "
    "custom_obj_values is_single_tensor_return target name arg kind "
    "is_hop_single_tensor_return input_specs output_specs user_input user_output parameter "
    "parameter_name buffer buffer_name persistent tensor_constant tensor_constant_name "
    "constant_input value fqn in_spec out_spec forward_arg_names dtype sizes requires_grad "
    "device strides storage_offset layout type index expr_str hint min_val max_val major "
    "minor buffer_mutation user_input_mutation user_input_name as_none as_tensor as_tensors "
    "as_int as_ints as_float as_floats as_string as_sym_int as_sym_ints as_sym_float "
    "as_sym_bool as_scalar_type as_memory_format as_layout as_device as_bool as_bools as_expr "
    "as_name as_optional_tensor as_optional_tensors as_nested_tensors as_int_lists "
    "as_float_lists config path_name is_param use_pickle tensor_meta"
)
_FIELDS = frozenset(_KNOWN.split())
_BY_NAME = ("opset_version", "range_constraints", "tensor_values", "sym_int_values",
            "sym_bool_values", "sym_float_values", "config")  # fmt: skip
#: Fields that are not needed, and that carry source code or names to import.
_LEFT_BEHIND: dict[str, Any] = {
    "metadata": {},
    "guards_code": [],
    "custom_obj_values": {},
    "treespec_namedtuple_fields": {},
}
_STRINGS = {
    "expr_str": (_EXPRESSION, "a size that is the Python expression"),
    "as_string": (_WORD, "as an operand the string"),
    "verifiers": (re.compile("TRAINING|ATEN"), "a graph of the kind"),
    **dict.fromkeys(_VARIABLES, (_VARIABLE, "a value with the name")),
}
_ITEM_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 2, 7: 4, 8: 8, 12: 1, 13: 2}  # ScalarType
SAFE = (
    "save it from the code that made it: ep = torch.export.export(model.eval(), (x,)); "
    "torch.export.save(ep, 'model.pt2'), with inputs and outputs that are tensors, tuples, lists "
    "or dicts"
)


def cleaned(data: bytes, name: str) -> bytes:
    """An archive that holds the same network and nothing that `torch.export.load` would execute.

    Raises:
        EdgekitError: E161 where the network needs something that is not on the lists above, E164
            where the archive is damaged.
    """
    archive = Archive(data, name)
    root = root_of(archive)
    model = f"{root}/models/model.json"
    if model not in archive.sizes:
        if any(file.startswith(f"{root}/data/aotinductor/") for file in archive.sizes):
            raise _unsafe(name, "a compiled library (AOTInductor), not a network")
        raise archive.damaged("it holds no 'models/model.json'")
    program = _checked(parse(archive.read(model), f"'{model}'"), "", name)
    if not isinstance(program, dict) or not isinstance(program.get("graph_module"), dict):
        raise archive.damaged("'models/model.json' holds no graph")
    files = {"archive_format": b"pt2", "archive_version": b"0", "byteorder": b"little",
             ".data/version": b"6\n", "models/model.json": _text(program),
             # Sample inputs are a pickle; there are none.
             "data/sample_inputs/model.pt": b""}  # fmt: skip
    version = f"{root}/archive_version"
    if archive.read(version).strip() not in (b"0", b"1"):
        raise archive.damaged("it is of a version that is not known")
    files["archive_version"] = archive.read(version)
    for kind, config in (("weights", "model_weights_config.json"),
                         ("constants", "model_constants_config.json")):  # fmt: skip
        files.update(_payload(archive, f"{root}/data/{kind}/", config, f"data/{kind}/"))
    return pack({f"model/{file}": content for file, content in files.items()})


def root_of(archive: Archive) -> str:
    """The folder that all files of the archive lie in."""
    return next(iter(archive.sizes), "").split("/")[0]


def _unsafe(name: str, what: str) -> EdgekitError:
    return EdgekitError("E161", f"{name} holds {what[:300]}", help=SAFE)


def _text(document: Any) -> bytes:
    return json.dumps(document).encode()


def _checked(item: Any, field: str, name: str) -> Any:
    """A copy of a JSON value with what is left behind gone; E161 for what is not on the lists."""
    if isinstance(item, list):
        return [_checked(i, field, name) for i in item]
    if isinstance(item, dict):
        if field in _BY_NAME:
            for key in item:
                _check_string(key, "name" if field != "config" else "", name)
            return {key: _checked(value, "", name) for key, value in item.items()}
        for key in item:
            if key not in _FIELDS:
                raise _unsafe(name, f"a '{key}', which is not taken from files")
        return {
            key: _LEFT_BEHIND[key] if key in _LEFT_BEHIND else _checked(value, key, name)
            for key, value in item.items()
        }
    if isinstance(item, str):
        _check_string(item, field, name)
    return item


def _check_string(item: str, field: str, name: str) -> None:
    if field == "target":
        operator = item.split(".")[-2] if item.count(".") > 1 else ""
        if not _TARGET.fullmatch(item) or operator in _FILES:
            raise _unsafe(name, f"a call of '{item}'; only operators of torch.ops.aten are taken")
    elif field in ("in_spec", "out_spec"):
        _check_spec(item, _VARIABLE if field == "in_spec" else _KEY, name)
    else:
        rule, what = _STRINGS.get(field, (_DOTTED, f"in the field '{field}' the string"))
        if not rule.fullmatch(item):
            raise _unsafe(name, f"{what} '{item}'")


def _check_spec(text: str, key: re.Pattern[str], name: str) -> None:
    """The nesting of inputs or outputs: plain containers, keys that are strings or numbers."""
    spec = parse(text.encode(), "the description of inputs and outputs")
    if not isinstance(spec, list) or len(spec) != 2 or spec[0] != 1:
        raise _unsafe(name, "inputs and outputs described in a way that is not known")
    rest = [spec[1]]
    while rest:
        node = rest.pop()
        kind = node.get("type") if isinstance(node, dict) else ""
        if kind not in _CONTAINERS or not isinstance(node.get("children_spec"), list):
            raise _unsafe(name, f"an input or output of the type '{kind}'")
        context = node.get("context")
        keys = parse(context.encode(), "a list of keys") if isinstance(context, str) else context
        if keys is not None and not (
            isinstance(keys, list)
            and all(isinstance(k, int) or (isinstance(k, str) and key.fullmatch(k)) for k in keys)
        ):
            raise _unsafe(name, f"an input or output with keys {str(keys)[:80]}")
        rest.extend(node["children_spec"])


def _payload(archive: Archive, folder: str, config: str, to: str) -> dict[str, bytes]:
    """Weights or constants: the table of them, and their bytes."""
    table = _checked(parse(archive.read(folder + config), f"'{config}'"), "", archive.name)
    entries = table.get("config") if isinstance(table, dict) else None
    if not isinstance(entries, dict):
        raise archive.damaged(f"'{config}' holds no table")
    files = {to + config: _text(table)}
    for weight, entry in entries.items():
        path = entry.get("path_name") if isinstance(entry, dict) else None
        if not isinstance(path, str):
            raise archive.damaged(f"'{config}' names no file for '{weight}'")
        if entry.get("use_pickle") is not False or not _PAYLOAD.fullmatch(path):
            raise _unsafe(archive.name, f"'{weight}' as a pickle, which is a program")
        if to + path not in files:
            files[to + path] = archive.read(folder + path)
        _check_tensor(archive, weight, entry.get("tensor_meta"), len(files[to + path]))
    return files


def _check_tensor(archive: Archive, weight: str, meta: Any, stored: int) -> None:
    """Sizes that the stored bytes cover: strides of 0 could make a petabyte of one number."""
    try:
        sizes = [int(s["as_int"]) for s in meta["sizes"]]
        item = _ITEM_BYTES[meta["dtype"]]
    except (TypeError, KeyError, ValueError):
        raise archive.damaged(f"'{weight}' has no type or sizes that are known") from None
    if min(sizes, default=1) < 0 or len(sizes) > 16 or math.prod(sizes) * item > stored:
        raise archive.damaged(f"'{weight}' {sizes} needs more than the {stored} bytes stored")
