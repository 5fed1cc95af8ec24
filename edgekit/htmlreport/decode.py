"""Plain JSON values into dataclasses, checked: what a report reads may come from anywhere.

A key that is missing takes the field's default, one that nobody knows is skipped, a value of
another type than the field's is refused by name.
"""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")
#: Beyond this no figure of a model makes sense.
_LARGEST = 2**63
#: Characters of a name that are kept.
_LONGEST = 2000


def decode(kind: type[T], value: Any, where: str = "") -> T:
    """`value` as a `kind`, a dataclass of plain fields, lists, mappings and further dataclasses.

    Raises:
        ValueError: names what is of the wrong type, missing, or out of range.
    """
    found: T = _decode(kind, value, where)
    return found


def read_json(path: Path) -> Any:
    """The JSON in a file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON, or has numbers that JSON does not know.
    """
    try:
        return json.loads(path.read_bytes(), parse_constant=_refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8") from None


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no JSON number")


def _decode(kind: Any, value: Any, where: str) -> Any:
    if get_origin(kind) is UnionType:
        if value is None and NoneType in get_args(kind):
            return None
        (kind,) = (k for k in get_args(kind) if k is not NoneType)
        return _decode(kind, value, where)
    if is_dataclass(kind):
        return _decode_dataclass(kind, value, where)
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise _wrong(value, "a list", where)
        item = get_args(kind)[0]
        return tuple(_decode(item, v, f"{where}[{i}]") for i, v in enumerate(value))
    if get_origin(kind) is dict:
        if not isinstance(value, dict):
            raise _wrong(value, "an object", where)
        item = get_args(kind)[1]
        return {_text(k): _decode(item, v, f"{where}.{_text(k)[:40]}") for k, v in value.items()}
    return _plain(kind, value, where)


def _plain(kind: Any, value: Any, where: str) -> Any:
    if kind is str:
        if not isinstance(value, str):
            raise _wrong(value, "text", where)
        return _text(value)
    if kind is bool:
        if not isinstance(value, bool):
            raise _wrong(value, "true or false", where)
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _wrong(value, "a number", where)
    if not -_LARGEST < value < _LARGEST:  # NaN too
        raise ValueError(f"{where} is out of range")
    if kind is int and value != math.floor(value):
        raise _wrong(value, "a whole number", where)
    return kind(value)


def _decode_dataclass(kind: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(value, "an object", where)
    given = {}
    for field in fields(kind):
        at = f"{where}.{field.name}" if where else field.name
        if field.name in value:
            given[field.name] = _decode(_hints(kind)[field.name], value[field.name], at)
        elif field.default is MISSING and field.default_factory is MISSING:
            raise ValueError(f"{at} is missing")
    try:
        return kind(**given)
    except ValueError as error:
        raise ValueError(f"{where}: {error}" if where else str(error)) from None


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _text(value: str) -> str:
    """Text that can be written as UTF-8: JSON may hold half a surrogate pair."""
    return value[:_LONGEST].encode("utf-8", "replace").decode("utf-8")


def _wrong(value: Any, wanted: str, where: str) -> ValueError:
    shown = json.dumps(value, default=str)[:40]
    return ValueError(f"{where or 'the whole file'} is {shown}, not {wanted}")
