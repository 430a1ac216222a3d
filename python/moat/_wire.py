"""The control protocol: as much of control/moat.proto as a client needs.

Messages are dictionaries. A schema says which number and type each field has; what is not in it is
skipped when it comes, as protobuf wants.
"""

from __future__ import annotations

import struct
from typing import Any, Dict, Iterator, Tuple

VERSION = 1
FRAME_MAX = 4 << 20

Schema = Dict[str, Tuple[int, Any]]

# Types: "int" (unsigned or enum), "sint" (int32, int64), "bool", "str", "bytes", a schema, or a list
# of one of them for repeated fields.
EMPTY: Schema = {}
NAME: Schema = {"id": (1, "str")}
RLIMIT: Schema = {"resource": (1, "int"), "soft": (2, "int"), "hard": (3, "int")}
PROCESS_SPEC: Schema = {
    "args": (1, ["str"]),
    "env": (2, ["str"]),
    "cwd": (3, "str"),
    "uid": (4, "int"),
    "gid": (5, "int"),
    "groups": (6, ["int"]),
    "umask": (7, "int"),
    "rlimits": (13, [RLIMIT]),
    "no_new_privileges": (14, "bool"),
    "extra_files": (17, "int"),
}
LIMITS: Schema = {
    "cpu_ns": (1, "int"),
    "wall_ns": (2, "int"),
    "memory": (3, "int"),
    "processes": (4, "int"),
    "keep": (5, "bool"),
}
REQUEST: Schema = {
    "id": (1, "int"),
    "descriptors": (2, "int"),
    "signal_process": (
        15,
        {"id": (1, "str"), "pid": (2, "sint"), "signal": (3, "sint"), "delivery": (4, "int")},
    ),
    "wait_pid": (17, {"id": (1, "str"), "pid": (2, "sint")}),
    "execute": (
        18,
        {"id": (1, "str"), "process": (2, PROCESS_SPEC), "bound": (3, "bool"), "limits": (4, LIMITS)},
    ),
    "status": (27, NAME),
    "attach": (29, EMPTY),
    "reset": (30, NAME),
    "file_read": (
        31,
        {"id": (1, "str"), "path": (2, "str"), "offset": (3, "int"), "size": (4, "int")},
    ),
    "file_write": (
        32,
        {
            "id": (1, "str"),
            "path": (2, "str"),
            "data": (3, "bytes"),
            "offset": (4, "int"),
            "mode": (5, "int"),
            "truncate": (6, "bool"),
            "parents": (7, "bool"),
            "directory": (8, "bool"),
        },
    ),
    "file_delete": (33, {"id": (1, "str"), "path": (2, "str"), "recursive": (3, "bool")}),
    "file_list": (34, {"id": (1, "str"), "path": (2, "str")}),
}
RESPONSE: Schema = {
    "id": (1, "int"),
    "error": (2, {"number": (1, "sint"), "message": (2, "str")}),
    "empty": (10, EMPTY),
    "exit_status": (
        11,
        {
            "wait_status": (1, "int"),
            "reason": (2, "int"),
            "user_ns": (3, "int"),
            "kernel_ns": (4, "int"),
            "wall_ns": (5, "int"),
            "memory_peak": (6, "int"),
        },
    ),
    "process": (12, {"pid": (1, "sint")}),
    "status": (16, {"state": (1, "int"), "pid": (2, "sint")}),
    "file_data": (18, {"data": (1, "bytes"), "size": (2, "int")}),
    "file_list": (
        19,
        {
            "entries": (
                1,
                [{"name": (1, "bytes"), "mode": (2, "int"), "size": (3, "int"), "modified_ns": (4, "sint")}],
            ),
            "truncated": (2, "bool"),
        },
    ),
}
FRAME: Schema = {
    "hello": (1, {"version": (1, "int"), "token": (2, "bytes")}),
    "request": (2, REQUEST),
    "response": (3, RESPONSE),
}


class ProtocolError(Exception):
    """What came is no message of the protocol."""


def _varint(n: int) -> bytes:
    out = bytearray()
    n &= (1 << 64) - 1
    while n > 0x7F:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def _encode_value(number: int, kind: Any, value: Any) -> bytes:
    if isinstance(kind, dict):
        data = encode(kind, value)
    elif kind == "str":
        data = value.encode("utf-8", "surrogateescape")
    elif kind == "bytes":
        data = bytes(value)
    else:
        return _varint(number << 3) + _varint(int(value))
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def encode(schema: Schema, message: Dict[str, Any]) -> bytes:
    out = bytearray()
    for name, value in message.items():
        number, kind = schema[name]
        if isinstance(kind, list):
            for item in value:
                out += _encode_value(number, kind[0], item)
        # Messages are there or not; numbers and texts without a value are left out.
        elif isinstance(kind, dict) or value:
            out += _encode_value(number, kind, value)
    return bytes(out)


def _read_varint(data: bytes, at: int) -> Tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ProtocolError("a number that does not end")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if not byte & 0x80:
            return value & (1 << 64) - 1, at
        shift += 7


def _fields(data: bytes) -> Iterator[Tuple[int, Any]]:
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        wire = tag & 7
        if wire == 0:
            value, at = _read_varint(data, at)
        elif wire in (1, 5):
            size = 8 if wire == 1 else 4
            value, at = data[at : at + size], at + size
        elif wire == 2:
            size, at = _read_varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ProtocolError("a field of no known kind")
        if at > len(data):
            raise ProtocolError("a field that does not end")
        yield tag >> 3, value


def _decode_value(kind: Any, value: Any) -> Any:
    if isinstance(value, int) != (kind in ("int", "sint", "bool")):
        raise ProtocolError("a field of another kind")
    if isinstance(kind, dict):
        return decode(kind, value)
    if kind == "str":
        return value.decode("utf-8", "surrogateescape")
    if kind == "sint" and value >> 63:
        return value - (1 << 64)
    return bool(value) if kind == "bool" else value


_NOTHING = {"int": 0, "sint": 0, "bool": False, "str": "", "bytes": b""}


def decode(schema: Schema, data: bytes) -> Dict[str, Any]:
    """Numbers and texts that did not come have their default; messages that did not are left out."""
    out: Dict[str, Any] = {}
    by_number = {}
    for name, (number, kind) in schema.items():
        by_number[number] = (name, kind)
        if isinstance(kind, list):
            out[name] = []
        elif not isinstance(kind, dict):
            out[name] = _NOTHING[kind]
    for number, value in _fields(data):
        if number not in by_number:
            continue
        name, kind = by_number[number]
        if isinstance(kind, list):
            out[name].append(_decode_value(kind[0], value))
        else:
            out[name] = _decode_value(kind, value)
    return out


def pack(frame: Dict[str, Any]) -> bytes:
    data = encode(FRAME, frame)
    if len(data) > FRAME_MAX:
        raise ValueError("the request is too large")
    return struct.pack("<I", len(data)) + data
