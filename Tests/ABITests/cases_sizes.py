"""Wrong struct sizes: a size that was never released is an error with a code of its own."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from typing import Any

import abi
import children
import header
from fixture import Fixture


def cases(library: abi.Library) -> Iterator[children.Case]:
    fixture = Fixture(library)
    for function in library.header.functions.values():
        for parameter in function.parameters:
            struct = library.header.structs.get(parameter.target) if parameter.is_pointer else None
            if struct is None or struct.fields[0].name != "struct_size":
                continue
            if not function.name.endswith("_init_sized"):
                for size in wrong_sizes(library, struct.name):
                    name = f"{function.name}({parameter.name}->struct_size = {size})"
                    yield name, _argument_case(fixture, function, parameter, size)
        if function.name.endswith("_init_sized"):
            for size in wrong_sizes(library, function.parameters[0].target):
                yield f"{function.name}(struct_size = {size})", _init_case(fixture, function, size)
    for size in wrong_sizes(library, "ftk_chat_message"):
        yield f"ftk_submit(messages[1].struct_size = {size})", _message_case(fixture, size)


def wrong_sizes(library: abi.Library, struct: str) -> list[int]:
    right = ctypes.sizeof(library.types.structs[struct])
    return [0, 1, right - 1, right + 8, 2**32 - 1]


def _argument_case(
    fixture: Fixture, function: header.Function, parameter: header.Variable, size: int
) -> Callable[[], None]:
    def run() -> None:
        arguments = fixture.arguments(function)
        value: Any = arguments[parameter.name]
        (value[0] if isinstance(value, ctypes.Array) else value).struct_size = size
        status = fixture.call(function, arguments)
        children.expect(fixture.library, status, "STRUCT_SIZE", names="struct_size")

    return run


def _init_case(fixture: Fixture, function: header.Function, size: int) -> Callable[[], None]:
    def run() -> None:
        arguments = fixture.arguments(function)
        before = bytes(arguments["options"])
        arguments["struct_size"] = size
        children.expect(fixture.library, fixture.call(function, arguments), "STRUCT_SIZE", names="struct_size")
        assert bytes(arguments["options"]) == before, "the struct was written to"

    return run


def _message_case(fixture: Fixture, size: int) -> Callable[[], None]:
    def run() -> None:
        library = fixture.library
        messages = (library.types.structs["ftk_chat_message"] * 2)()
        for message in messages:
            message.struct_size, message.role, message.content = ctypes.sizeof(message), b"user", b"Hi"
        messages[1].struct_size = size
        options = library.defaults("ftk_request_options", chat_template=b"chatml", max_tokens=1)
        options.messages, options.message_count = messages, 2
        request = ctypes.c_uint64(7)
        status = library.submit(fixture.handles["ftk_engine"], ctypes.byref(options), ctypes.byref(request))
        children.expect(library, status, "STRUCT_SIZE", names="messages")
        assert request.value == 0

    return run
