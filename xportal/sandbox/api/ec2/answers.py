"""EC2's answers as XML: what moto's serializer writes, byte for byte, in a tenth of the time.

For every member of every answer moto works out anew under which names a record may have its value, and under which
path it may be transformed; then it builds a tree, and xmltodict writes it. Here all that can be known of a place in an
answer is found out once. EC2's answers are made of structures, lists and plain values alone: no maps, no attributes.

AWS says that the order of elements may vary; in the sandbox's answers no two have the same.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple
from xml.sax.saxutils import escape

from moto.core.model import ListShape, OperationModel, Shape, StructureShape
from moto.core.serialize import (
    AttributePickerContext,
    EC2Serializer,
    ResponseDict,
    TimestampSerializer,
    XFormedAttributePicker,
)
from moto.core.utils import get_value

Read = Callable[[Any], Any]
Write = Callable[[Any], "str | None"]
"""From a value to the content of its element. None: there is no element. Nothing: the element is empty."""

_ABSENT = object()
_TIMES = TimestampSerializer(EC2Serializer.DEFAULT_TIMESTAMP_FORMAT)


class AnswerSerializer(EC2Serializer):
    """Writes the answer to one request. An answer that is an error is moto's."""

    orders: ClassVar[random.Random | None] = None  # puts elements in another order each time
    _roots: ClassVar[dict[str, _Structure]] = {}  # by operation

    def _serialize_result(self, resp: ResponseDict, result: Any) -> ResponseDict:
        operation = self.operation_model
        content = ""
        if operation.output_shape is not None:
            root = self._roots.get(operation.name)
            if root is None:
                root = self._roots[operation.name] = _make_root(operation, _Making(self._value_picker, self.orders))
            content = root(result) or ""
        element, namespace = f"{operation.name}Response", operation.metadata["xmlNamespace"]
        resp["body"] = (
            f'<?xml version="1.0" encoding="utf-8"?>\n<{element} xmlns="{namespace}">'
            f"{content}<requestId>{self.context.request_id}</requestId></{element}>"
        )
        resp["headers"]["Content-Type"] = self.CONTENT_TYPE
        return resp


class ShuffledAnswers(AnswerSerializer):
    """The same, with elements in no order that anybody may rely on."""

    orders: ClassVar[random.Random | None] = random.Random(1)
    _roots: ClassVar[dict[str, _Structure]] = {}


class _Making(NamedTuple):
    """How answers are made: where values are, and in which order elements come."""

    picker: XFormedAttributePicker
    orders: random.Random | None


class _Structure:
    """A structure at one place in an answer."""

    def __init__(self, shape: StructureShape, path: tuple[str, ...], making: _Making) -> None:
        self._shape, self._path, self._making = shape, path, making
        self._members: dict[str, tuple[str, Write]] = {}  # by AWS's name: the element's name, and its content
        self._readers: dict[type, list[tuple[Read, str, Write]]] = {}  # by the class that the value has

    def __call__(self, value: Any) -> str | None:
        if value is None:
            return None
        readers = self._readers.get(type(value))
        if readers is None:
            readers = self._readers[type(value)] = self._find_readers(value)
        written = []
        for read, name, write in readers:
            found = read(value)
            if found is None:
                continue
            content = write(found)
            written.append(f"<{name}>{content}</{name}>" if content else f"<{name}/>")
        if self._making.orders:
            self._making.orders.shuffle(written)
        return "".join(written)

    def _find_readers(self, value: Any) -> list[tuple[Read, str, Write]]:
        """How a value of this class has each member."""
        self._members = self._members or {key: self._member(key, shape) for key, shape in self._shape.members.items()}
        return [(self._reader(value, key), *member) for key, member in self._members.items()]

    def _member(self, key: str, shape: Shape) -> tuple[str, Write]:
        shape.parent = self._shape  # type: ignore[attr-defined]  # moto's rules on names ask for it
        return _name(shape, key), _writer(shape, (*self._path, key), self._making)

    def _reader(self, value: Any, key: str) -> Read:
        context = AttributePickerContext(value, key, self._shape.members[key])
        names = tuple(dict.fromkeys(self._making.picker.get_possible_keys(context)))
        read = _find_reader(value, names)
        path = ".".join((*self._path, key))
        transform = next(
            (t for end, t in self._making.picker.response_transformers.items() if path.endswith(end)), None
        )
        return read if transform is None else lambda record: transform(read(record))


def _make_root(operation: OperationModel, making: _Making) -> _Structure:
    shape = operation.output_shape
    assert isinstance(shape, StructureShape)
    return _Structure(shape, (operation.name, shape.name), making)


def _find_reader(value: Any, names: Sequence[str]) -> Read:
    """Reads what a record of this class has under the first of the names that it has."""

    def read_attribute(record: Any) -> Any:
        for name in names:
            found = getattr(record, name, _ABSENT)
            if found is not _ABSENT:
                return found
        return None

    def read_item(record: dict[str, Any]) -> Any:
        for name in names:
            if name in record:
                return record[name]
        return None

    def read(record: Any) -> Any:
        return next((found for name in names if (found := get_value(record, name, _ABSENT)) is not _ABSENT), None)

    if any("." in name for name in names):
        return read
    if type(value) is dict:
        return read_item
    return read if hasattr(value, "__getitem__") else read_attribute


def _writer(shape: Shape, path: tuple[str, ...], making: _Making) -> Write:
    if isinstance(shape, StructureShape):
        return _Structure(shape, path, making)
    if isinstance(shape, ListShape):
        return _list_writer(shape, path, making)
    return _PLAIN[shape.type_name]


def _list_writer(shape: ListShape, path: tuple[str, ...], making: _Making) -> Write:
    item = shape.member
    assert isinstance(item, Shape)
    name, write = _name(item, "member"), _writer(item, (*path, item.name), making)

    def write_structures(values: Any) -> str:
        """Those that are empty are left out."""
        return "".join([f"<{name}>{content}</{name}>" for value in values if (content := write(value))])

    def write_values(values: Any) -> str:
        contents = [write(value) for value in values]
        return "".join([f"<{name}>{content}</{name}>" if content else f"<{name}/>" for content in contents])

    return write_structures if isinstance(item, StructureShape) else write_values


def _name(shape: Shape, default: str) -> str:
    return str(shape.serialization.get("name", default))


def _write_string(value: Any) -> str:
    return escape(str(value))


def _write_boolean(value: Any) -> str:
    return "true" if value is True or str(value).lower() == "true" else "false"


def _write_integer(value: Any) -> str:
    return str(int(value))


def _write_float(value: Any) -> str:
    return str(float(value))


def _write_blob(value: str | bytes) -> str:
    return b64encode(value.encode() if isinstance(value, str) else value).decode()


def _write_time(value: Any) -> str:
    return _write_told_time(value) if isinstance(value, str) else _format_time(value)


def _format_time(value: Any) -> str:
    return _TIMES._convert_timestamp_to_str(value, _TIMES.default_format)


_write_told_time = lru_cache(maxsize=1000)(_format_time)  # reading a time as text takes longer than all else

_PLAIN: dict[str, Write] = {
    "blob": _write_blob,
    "boolean": _write_boolean,
    "double": _write_float,
    "float": _write_float,
    "integer": _write_integer,
    "long": _write_integer,
    "string": _write_string,
    "timestamp": _write_time,
}
