"""Finds and loads libforetoken.so.0, once, at the first use."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, Callable

from . import _abi, _controller_abi
from .errors import LibraryLoadError, error_of

SONAME = f"libforetoken.so.{_abi.FTK_ABI_VERSION}"
_PACKAGE = Path(__file__).resolve().parent


def _path() -> str:
    """The most explicit place: the environment, this package, the checkout around it, the loader's own search."""
    named = os.environ.get("FORETOKEN_LIBRARY")
    if named:
        return named
    inside = _PACKAGE / "lib" / SONAME
    checkout = _PACKAGE / ".." / ".." / ".."
    built = checkout / ".build" / "release" / "libforetoken.so"
    if inside.exists():
        return str(inside)
    if (checkout / "include" / "foretoken" / "foretoken.h").exists() and built.exists():
        return str(built.resolve())
    return SONAME


@cache
def library() -> ctypes.CDLL:
    """The loaded library with every prototype set. The interpreter lock is free during its calls."""
    path = _path()
    try:
        lib = ctypes.CDLL(path)
        for name, (result, parameters) in {**_abi.FUNCTIONS, **_controller_abi.FUNCTIONS}.items():
            function = getattr(lib, name)
            function.restype = result
            function.argtypes = parameters
    except (OSError, AttributeError) as error:
        raise LibraryLoadError(
            f"cannot load {path}: {error}. Set FORETOKEN_LIBRARY to the path of {SONAME}, "
            "install a wheel that contains it, or build it in the source checkout"
        ) from error
    found = lib.ftk_abi_version()
    if found != _abi.FTK_ABI_VERSION:
        raise LibraryLoadError(f"{path} has ABI version {found}; this package needs {_abi.FTK_ABI_VERSION}")
    return lib


def library_version() -> str:
    """The version of the loaded library, such as "0.1.0"."""
    return str(library().ftk_version_string(), "utf-8")


def check(status: int) -> int:
    """Raises the exception of a negative status; must follow the failed call on the same thread."""
    if status < 0:
        raise error_of(status, library().ftk_last_error().decode("utf-8", "replace"))
    return status


def text_from(call: Callable[[Any, int, Any], int], guess: int = 256) -> str:
    """The text that `call(buffer, capacity, bytes)` writes by the rule of snprintf."""
    return str(_buffer_from(call, ctypes.c_char, guess), "utf-8", "replace")


def tokens_from(call: Callable[[Any, int, Any], int], guess: int = 256) -> list[int]:
    """The tokens that `call(buffer, capacity, count)` writes by the rule of snprintf."""
    return list(_buffer_from(call, ctypes.c_int32, guess))


def _buffer_from(call: Callable[[Any, int, Any], int], element: Any, guess: int) -> Any:
    needed = ctypes.c_size_t()
    capacity = guess
    while True:
        buffer = (element * capacity)()
        if check(call(buffer, capacity, ctypes.byref(needed))) != _abi.FTK_TRUNCATED:
            return buffer[: needed.value]
        capacity = needed.value + 1  # one more for the NUL of a text


def int32_array(values: Sequence[int], name: str) -> Any:
    """A C array of token ids."""
    checked = [checked_int(value, ctypes.c_int32, f"{name}[{index}]") for index, value in enumerate(values)]
    return (ctypes.c_int32 * len(checked))(*checked)


_RANGES = {
    ctypes.c_int32: (-(2**31), 2**31 - 1),
    ctypes.c_int64: (-(2**63), 2**63 - 1),
    ctypes.c_uint32: (0, 2**32 - 1),
    ctypes.c_uint64: (0, 2**64 - 1),
}


def checked_int(value: Any, ctype: Any, name: str) -> int:
    """`value` as an integer that fits `ctype`; ctypes itself would cut it silently."""
    low, high = _RANGES[ctype]
    number: int | None = value.__index__() if hasattr(value, "__index__") else None
    if number is None or not low <= number <= high:
        raise error_of(
            _abi.FTK_ERROR_INVALID_ARGUMENT, f"{name} must be an integer from {low} to {high}, not {value!r}"
        )
    return number


def c_text(value: str | bytes, name: str) -> bytes:
    """`value` as a NUL-terminated C text; one that holds NUL would be cut silently."""
    data = utf8(value, name)
    if b"\0" in data:
        raise error_of(_abi.FTK_ERROR_INVALID_ARGUMENT, f"{name} must not contain a NUL character")
    return data


def utf8(value: str | bytes, name: str) -> bytes:
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise error_of(_abi.FTK_ERROR_INVALID_ARGUMENT, f"{name} must be text, not {type(value).__name__}")
    try:
        return value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise error_of(_abi.FTK_ERROR_INVALID_ARGUMENT, f"{name} is not valid Unicode: {error}") from error


def path_bytes(path: str | os.PathLike[str], name: str) -> bytes:
    return c_text(os.fsencode(path), name)
