"""One valid argument for every parameter of every function, found by its type and name."""

from __future__ import annotations

import ctypes
from typing import Any

import abi
import controller_scene
import header
import support

SCALARS = {
    "text_bytes": 3,
    "count": 3,
    "capacity": 64,
    "flags": 0,
    "message_count": 1,
    "timeout_us": 0,
    "index": 0,
    "id": 1,
    "status": 0,
    "token": 5,
    "wish_count": 1,
    "draft_count": 1,
    "is_draft": 0,
    "rows": 1,
    "context_tokens": 1,
    "attended_tokens": 1,
    "position": 0,
}
TEXTS = {
    "path": support.TARGET.encode(),
    "target_path": support.TARGET.encode(),
    "draft_path": support.DRAFT.encode(),
    "text": b"abc",
    "chat_template": b"chatml",
}
OUTPUT_STRUCTS = {"info", "plan", "stats", "event"}


class Fixture:
    def __init__(self, library: abi.Library) -> None:
        self.library = library
        model = library.open_model(support.DRAFT)
        tokenizer, decoder, batch = library.tokenizer_of(model), ctypes.c_void_p(), ctypes.c_void_p()
        library.ok(library.decoder_create(tokenizer, 0, ctypes.byref(decoder)))
        engine = library.create_engine(model, threads=1, trace=1)
        library.submit_options(engine, library.text_request(b"def", max_tokens=1))
        while library.ok(library.engine_step(engine)) == 0:
            pass
        library.ok(library.poll(engine, 0, ctypes.byref(batch)))
        self.handles = {
            "ftk_model": model,
            "ftk_tokenizer": tokenizer,
            "ftk_decoder": decoder,
            "ftk_engine": engine,
            "ftk_event_batch": batch,
            "ftk_controller": controller_scene.Scene(library).controller,
        }

    def arguments(self, function: header.Function) -> dict[str, Any]:
        return {parameter.name: self._argument(function, parameter) for parameter in function.parameters}

    def _argument(self, function: header.Function, parameter: header.Variable) -> Any:
        """Objects are returned themselves: byref() is added by call()."""
        library, name = self.library, parameter.name
        if parameter.type.endswith("_callback"):
            return library.types.of(parameter.type)()  # NULL
        if not parameter.is_pointer:
            if name == "struct_size":
                return ctypes.sizeof(library.types.structs[function.parameters[0].target])
            return SCALARS[name]
        target = parameter.target
        if target in self.handles:
            return self.handles[target]
        if target == "void":
            return ctypes.c_void_p()  # the host's own
        if target.endswith("*"):
            return ctypes.c_void_p(1)  # an output: must become NULL on failure
        if target == "char":
            return TEXTS[name] if parameter.type.startswith("const") else ctypes.create_string_buffer(64)
        if target == "ftk_chat_message":
            return (library.types.structs[target] * 1)(library.new(target, role=b"user", content=b"Hi"))
        if target in library.types.structs:
            if target == "ftk_request_options":
                return library.text_request(b"def", max_tokens=1)
            if target.startswith("ftk_controller_"):
                return controller_scene.argument(library, target)
            return library.new(target) if name in OUTPUT_STRUCTS else library.defaults(target)
        if name == "tokens":
            return (ctypes.c_int32 * 64)(5, 6, 7)
        return abi.SCALARS[target](77)

    def call(self, function: header.Function, arguments: dict[str, Any]) -> Any:
        passed = [
            ctypes.byref(value)
            if isinstance(value, (ctypes.Structure, ctypes._SimpleCData)) and not self._is_handle(function, name)
            else value
            for name, value in arguments.items()
        ]
        return getattr(self.library, function.name.removeprefix("ftk_"))(*passed)

    def _is_handle(self, function: header.Function, name: str) -> bool:
        return any(parameter.name == name and parameter.target in self.handles for parameter in function.parameters)
