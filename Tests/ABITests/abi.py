"""ctypes made from the parsed header: nothing about the library is written down twice."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import header

SCALARS: dict[str, Any] = {
    "void": None,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "char": ctypes.c_char,
}


class Types:
    """The ctypes of every C type that the header uses."""

    def __init__(self, parsed: header.Header) -> None:
        self._header = parsed
        self._callbacks: dict[str, Any] = {}
        self.structs: dict[str, Any] = {}
        for name, callback in parsed.callbacks.items():
            parameters = [self.of(parameter.type) for parameter in callback.parameters]
            self._callbacks[name] = ctypes.CFUNCTYPE(self.of(callback.result), *parameters)
        for name, struct in parsed.structs.items():
            self.structs[name] = self._struct(struct)

    def _struct(self, struct: header.Struct) -> Any:
        fields = []
        for field in struct.fields:
            ctype = self.of(field.type)
            fields.append((field.name, ctype * field.length if field.length else ctype))
        return type(struct.name, (ctypes.Structure,), {"_fields_": fields})

    def of(self, name: str) -> Any:
        """The ctype of a C type as header.Variable spells it."""
        name = name.removeprefix("const ")
        name = self._header.aliases.get(name, name)
        if name in SCALARS:
            return SCALARS[name]
        if name in self._callbacks:
            return self._callbacks[name]
        if name in self.structs:
            return self.structs[name]
        if not name.endswith("*"):
            raise header.HeaderError(f"no ctype for {name}")
        target = name[:-1].removesuffix("const").strip()
        if target == "char":
            return ctypes.c_char_p
        if target == "void" or target in self._header.handles:
            return ctypes.c_void_p
        return ctypes.POINTER(self.of(target))


class Library:
    """The library with the header's prototypes; every function is an attribute without its ftk_."""

    def __init__(self, path: str, parsed: header.Header) -> None:
        self.header = parsed
        self.types = Types(parsed)
        self.constants = parsed.constants
        self.succeeded: set[str] = set()
        self._functions: dict[str, Callable[..., Any]] = {}
        loaded = ctypes.CDLL(path)
        for name, function in parsed.functions.items():
            symbol = getattr(loaded, name)
            symbol.restype = self.types.of(function.result)
            symbol.argtypes = [self.types.of(parameter.type) for parameter in function.parameters]
            self._functions[name] = self._recorded(name, symbol, function.result == "ftk_status")

    def _recorded(self, name: str, symbol: Callable[..., Any], fallible: bool) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            result = symbol(*arguments)
            if not fallible or result >= 0:
                self.succeeded.add(name)
            return result

        return call

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            return self._functions["ftk_" + name]
        except KeyError:
            raise AttributeError(f"foretoken.h declares no ftk_{name}") from None

    def new(self, struct: str, **values: Any) -> Any:
        """A struct of that name; struct_size is set where there is one."""
        made = self.types.structs[struct](**values)
        if made._fields_[0][0] == "struct_size" and "struct_size" not in values:
            made.struct_size = ctypes.sizeof(made)
        return made

    def defaults(self, struct: str, **values: Any) -> Any:
        """An option struct filled by the library, then changed."""
        made = self.types.structs[struct]()
        self.ok(getattr(self, struct.removeprefix("ftk_") + "_init_sized")(ctypes.byref(made), ctypes.sizeof(made)))
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def error(self) -> str:
        return self.last_error().decode("utf-8", "replace")

    def ok(self, status: int) -> int:
        if status < 0:
            raise AssertionError(f"{self.status_name(status)}: {self.error()}")
        return status

    def status_name(self, status: int) -> str:
        names = [
            name
            for name, value in self.constants.items()
            if value == status
            and (name.startswith("FTK_ERROR_") or name in ("FTK_OK", "FTK_WOULD_BLOCK", "FTK_TRUNCATED"))
        ]
        return names[0] if names else f"status {status}"

    # Handles, for tests that are about something else.

    def open_model(self, path: str) -> ctypes.c_void_p:
        model = ctypes.c_void_p()
        self.ok(self.model_open(path.encode(), None, ctypes.byref(model)))
        return model

    def tokenizer_of(self, model: ctypes.c_void_p) -> ctypes.c_void_p:
        tokenizer = ctypes.c_void_p()
        self.ok(self.model_get_tokenizer(model, ctypes.byref(tokenizer)))
        return tokenizer

    def create_engine(self, model: ctypes.c_void_p, **options: Any) -> ctypes.c_void_p:
        engine = ctypes.c_void_p()
        filled = self.defaults("ftk_engine_options", **options)
        self.ok(self.engine_create(model, ctypes.byref(filled), ctypes.byref(engine)))
        return engine

    def text_request(self, text: bytes, /, **options: Any) -> Any:
        """A request that does the same each time and is as long as it was asked to be."""
        prompt = {"prompt": text, "prompt_bytes": len(text), "temperature": 0, "ignore_eos": 1}
        return self.defaults("ftk_request_options", **{**prompt, **options})

    def submit_options(self, engine: ctypes.c_void_p, options: Any) -> int:
        request = ctypes.c_uint64()
        self.ok(self.submit(engine, ctypes.byref(options), ctypes.byref(request)))
        return request.value

    def poll_events(self, engine: ctypes.c_void_p, timeout_us: int = 0) -> list[dict[str, Any]]:
        """All waiting events as dictionaries of what these tests look at."""
        batch = ctypes.c_void_p()
        self.ok(self.poll(engine, timeout_us, ctypes.byref(batch)))
        events = []
        for index in range(self.event_batch_count(batch)):
            event = self.new("ftk_event")
            self.ok(self.event_batch_at(batch, index, ctypes.byref(event)))
            events.append(
                {
                    "kind": event.kind,
                    "request": event.request_id,
                    "sample": event.sample_index,
                    "tokens": event.tokens[: event.token_count] if event.tokens else [],
                    "text": (event.text or b"")[: event.text_bytes],
                    "finish_reason": event.finish_reason,
                    "error": event.error,
                    "error_text": (event.error_text or b"").decode("utf-8", "replace"),
                }
            )
        self.event_batch_free(batch)
        return events

    def run_until_idle(self, engine: ctypes.c_void_p) -> list[dict[str, Any]]:
        """Steps a manual engine until nothing is left to do; all events."""
        events = []
        while self.ok(self.engine_step(engine)) == 0:
            events += self.poll_events(engine)
        return events + self.poll_events(engine)
