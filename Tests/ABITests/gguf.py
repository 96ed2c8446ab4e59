"""Reads, changes and writes GGUF files, well-formed or not; standard library only.

Every number of the file can be replaced by a lie: counts, lengths, types, dimensions and offsets are fields that
`write` puts down as they are.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

UINT32, INT32, FLOAT32, BOOL, STRING, ARRAY, UINT64 = 4, 5, 6, 7, 8, 9, 10
F32, F16, Q8_0 = 0, 1, 8
_SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_BLOCKS = {F32: (1, 4), F16: (1, 2), Q8_0: (32, 34)}  # elements and bytes


@dataclass
class Value:
    """A metadata value; `element` is the type of an array's elements, `count` a lie about its length."""

    type: int
    value: Any
    element: int = 0
    count: int | None = None


@dataclass
class Tensor:
    name: str
    dimensions: list[int]  # innermost first, as in the file
    type: int
    data: bytes
    offset: int | None = None  # a lie; None: where the data is put
    rank: int | None = None  # a lie about the number of dimensions


@dataclass
class File:
    metadata: dict[str, Value] = field(default_factory=dict)
    tensors: list[Tensor] = field(default_factory=list)
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    metadata_count: int | None = None
    alignment: int = 32

    def tensor(self, name: str) -> Tensor:
        return next(tensor for tensor in self.tensors if tensor.name == name)


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.boundaries: list[int] = []  # ends of everything that was read

    def number(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self.data, self.position)
        self.position += struct.calcsize(layout)
        return value

    def text(self) -> bytes:
        length = self.number("<Q")
        self.position += length
        return self.data[self.position - length : self.position]

    def value(self, kind: int) -> Any:
        return self.text() if kind == STRING else self.number(_SCALARS[kind])

    def metadata_value(self) -> Value:
        kind = self.number("<I")
        if kind != ARRAY:
            return Value(kind, self.value(kind))
        element, count = self.number("<I"), self.number("<Q")
        return Value(kind, [self.value(element) for _ in range(count)], element)

    def mark(self) -> None:
        self.boundaries.append(self.position)


def tensor_bytes(kind: int, dimensions: list[int]) -> int:
    elements = 1
    for dimension in dimensions:
        elements *= dimension
    block, size = _BLOCKS[kind]
    return elements // block * size


def read(path: str | Path) -> tuple[File, list[int]]:
    """The file, and the offsets of the ends of all its sections, for truncations."""
    reader = _Reader(Path(path).read_bytes())
    file = File(magic=reader.data[:4])
    reader.position = 4
    reader.mark()
    file.version = reader.number("<I")
    reader.mark()
    tensors = reader.number("<Q")
    reader.mark()
    entries = reader.number("<Q")
    reader.mark()
    for _ in range(entries):
        key = reader.text().decode()
        file.metadata[key] = reader.metadata_value()
        reader.mark()
    if "general.alignment" in file.metadata:
        file.alignment = file.metadata["general.alignment"].value
    infos = []
    for _ in range(tensors):
        name, rank = reader.text().decode(), reader.number("<I")
        dimensions = [reader.number("<Q") for _ in range(rank)]
        infos.append((name, dimensions, reader.number("<I"), reader.number("<Q")))
        reader.mark()
    start = -(-reader.position // file.alignment) * file.alignment
    for name, dimensions, kind, offset in infos:
        end = start + offset + tensor_bytes(kind, dimensions)
        reader.boundaries += [start + offset, end]
        file.tensors.append(Tensor(name, dimensions, kind, reader.data[start + offset : end]))
    return file, sorted(set(reader.boundaries))


def _text(value: str | bytes) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(data)) + data


def _encoded(kind: int, value: Any) -> bytes:
    return _text(value) if kind == STRING else struct.pack(_SCALARS[kind], value)


def _metadata(value: Value) -> bytes:
    if value.type not in _SCALARS and value.type not in (STRING, ARRAY):
        return struct.pack("<I", value.type) + value.value  # an unknown type and raw bytes
    if value.type != ARRAY:
        return struct.pack("<I", value.type) + _encoded(value.type, value.value)
    count = len(value.value) if value.count is None else value.count
    head = struct.pack("<IIQ", ARRAY, value.element, count)
    if isinstance(value.value, bytes):
        return head + value.value
    return head + b"".join(_encoded(value.element, item) for item in value.value)


def _or(lie: int | None, truth: int) -> int:
    return truth if lie is None else lie


def write(file: File) -> bytes:
    head = file.magic + struct.pack(
        "<IQQ", file.version, _or(file.tensor_count, len(file.tensors)), _or(file.metadata_count, len(file.metadata))
    )
    parts = [head]
    parts += [_text(key) + _metadata(value) for key, value in file.metadata.items()]
    offset = 0
    for tensor in file.tensors:
        parts.append(_text(tensor.name) + struct.pack("<I", _or(tensor.rank, len(tensor.dimensions))))
        parts.append(b"".join(struct.pack("<Q", dimension) for dimension in tensor.dimensions))
        parts.append(struct.pack("<IQ", tensor.type, _or(tensor.offset, offset)))
        offset += -(-len(tensor.data) // file.alignment) * file.alignment
    data = b"".join(parts)
    chunks = [data, b"\0" * (-len(data) % file.alignment)]
    for tensor in file.tensors:
        chunks += [tensor.data, b"\0" * (-len(tensor.data) % file.alignment)]
    return b"".join(chunks)
