"""Content hashes of rows: equal rows have equal ids, whoever computed them and whenever."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from itertools import chain, islice, repeat
from math import isnan
from operator import attrgetter
from typing import Any

import numpy as np
from pydantic import BaseModel

from sdar.schemas.records import Record, UpdateReport

_ADDED: Mapping[type[BaseModel], tuple[str, ...]] = {UpdateReport: ("drift", "coefficient")}
"""Fields that older stores lack and read as NaN: left out then, so that ids stay what they were."""

Rows = Mapping[str, Sequence[Record]]
Column = Sequence[Any]


def artifact_id(kind: str, rows: Rows, blob: str | None) -> str:
    """Return the id of an artifact: 64 hexadecimal digits that depend on its content only.

    Every value is encoded without ambiguity: a type tag, a length where it varies, the content. An empty
    table counts as absent; the order of tables does not matter, the order of rows does.

    Args:
        kind: what the artifact is, for instance `episodes`.
        rows: records by table name.
        blob: content hash of the artifact's files, or None.
    """
    content = {"kind": kind, "rows": {name: rows[name] for name in rows if len(rows[name])}, "blob": blob}
    return hashlib.sha256(_encode([content])[0]).hexdigest()


def _encode(values: Column) -> list[bytes]:
    """Encode many values at once, records field by field: several times as fast as one by one."""
    kinds = set(map(type, values))
    if len(kinds) == 1:
        return _encoder(kinds.pop())(values)
    encoded = {kind: iter(_encode([value for value in values if type(value) is kind])) for kind in kinds}
    return [next(encoded[type(value)]) for value in values]


@cache
def _encoder(kind: type) -> Callable[[Column], list[bytes]]:
    for base, encoder in _ENCODERS:
        if issubclass(kind, base):
            return encoder
    raise TypeError(f"cannot hash a {kind.__name__}")


def _constants(values: Column) -> list[bytes]:
    return list(map({None: b"cNone;", True: b"cTrue;", False: b"cFalse;"}.__getitem__, values))


def _strings(values: Column) -> list[bytes]:
    return [b"s%d:%b" % (len(text), text) for text in map(str.encode, values)]


def _integers(values: Column) -> list[bytes]:
    return list(map(b"i%d;".__mod__, values))


def _floats(values: Column) -> list[bytes]:
    return list(map(struct.Struct("<cd").pack, repeat(b"f"), values))


def _arrays(values: Column) -> list[bytes]:
    return [_array(value) for value in values]


def _array(value: np.ndarray[Any, Any]) -> bytes:
    if value.dtype.str[0] == ">":
        value = value.astype(value.dtype.newbyteorder("<"))
    shape = b"(%d,)" % len(value) if value.ndim == 1 else str(value.shape).encode()
    return b"a%b%b:%b" % (value.dtype.str.encode(), shape, value.tobytes())


def _records(values: Column) -> list[bytes]:
    kind: type[BaseModel] = type(values[0])
    if kind in _ADDED:
        return [_mapping(_as_first_stored(value, _ADDED[kind])) for value in values]
    read, template = _layout(kind)
    return list(map(template.__mod__, zip(*map(_encode, read(values)), strict=True)))


def _as_first_stored(record: BaseModel, added: tuple[str, ...]) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in type(record).model_fields}
    return {name: value for name, value in values.items() if not (name in added and isnan(values[name]))}


@cache
def _layout(record: type[BaseModel]) -> tuple[Callable[[Column], list[Column]], bytes]:
    """Return how to read the sorted fields of records, and the bytes around the values of one record."""
    names = sorted(record.model_fields)
    keys = b"".join(name + b"%b" for name in _strings(names))
    return lambda values: [list(map(attrgetter(name), values)) for name in names], b"m%d:%b" % (
        len(names),
        keys,
    )


def _mappings(values: Column) -> list[bytes]:
    return [_mapping(value) for value in values]


def _mapping(value: Mapping[str, Any]) -> bytes:
    names = sorted(value)
    items = zip(_strings(names), _encode([value[name] for name in names]), strict=True)
    return b"m%d:%b" % (len(names), b"".join(chain.from_iterable(items)))


def _sequences(values: Column) -> list[bytes]:
    items = iter(_encode(list(chain.from_iterable(values))))
    return [b"l%d:%b" % (len(value), b"".join(islice(items, len(value)))) for value in values]


_ENCODERS: tuple[tuple[type, Callable[[Column], list[bytes]]], ...] = (
    (type(None), _constants),
    (bool, _constants),
    (str, _strings),
    (int, _integers),
    (float, _floats),
    (np.ndarray, _arrays),
    (BaseModel, _records),
    (Mapping, _mappings),
    (Sequence, _sequences),
)
