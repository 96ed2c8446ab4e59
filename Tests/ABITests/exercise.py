"""Opens a made file in every way that the library has, and uses what opens."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import abi
import children


class Opener:
    """Cases that write one file and open it."""

    def __init__(self, library: abi.Library, path: Path) -> None:
        self._library = library
        self._path = path

    def case(
        self, make: Callable[[], bytes], wanted: tuple[str, ...], names: tuple[str, ...] = ()
    ) -> Callable[[], None]:
        def run() -> None:
            self._path.write_bytes(make())
            open_all(self._library, str(self._path), wanted, (self._path.name, *names))

        return run


def open_all(library: abi.Library, path: str, wanted: tuple[str, ...], names: tuple[str, ...]) -> None:
    """The model must end as wanted; tokenizer and memory plan may do as they like, but not abort."""
    plan, tokenizer, model = library.new("ftk_memory_plan"), ctypes.c_void_p(), ctypes.c_void_p(1)
    explained(library, library.memory_plan_compute(path.encode(), None, None, ctypes.byref(plan)))
    if explained(library, library.tokenizer_open(path.encode(), ctypes.byref(tokenizer))):
        use_tokenizer(library, tokenizer)
        library.tokenizer_release(tokenizer)
    status = library.model_open(path.encode(), None, ctypes.byref(model))
    children.expect(library, status, *wanted, names=names)
    if status == 0:
        use_model(library, model)
        library.model_release(model)
    else:
        assert model.value is None


def explained(library: abi.Library, status: int) -> bool:
    """True for success; a failure must have a text, and be no fault of the library."""
    if status < 0:
        assert library.status_name(status) != "FTK_ERROR_INTERNAL", library.error()
        assert len(library.error()) >= 10, f"no helpful text for {library.status_name(status)}: {library.error()!r}"
    return status == 0


def use_tokenizer(library: abi.Library, tokenizer: Any) -> None:
    tokens, count, buffer = (ctypes.c_int32 * 64)(), ctypes.c_size_t(), ctypes.create_string_buffer(1024)
    text = "def f(x): é🙂".encode()
    if library.tokenizer_encode(tokenizer, text, len(text), 3, tokens, 64, ctypes.byref(count)) == 0:
        used = count.value
        library.tokenizer_decode(tokenizer, tokens, used, 0, buffer, 1024, ctypes.byref(count))
    message = (library.types.structs["ftk_chat_message"] * 1)(
        library.new("ftk_chat_message", role=b"user", content=b"x")
    )
    for template in (None, b"chatml"):
        library.tokenizer_encode_chat(tokenizer, template, message, 1, 1, tokens, 64, ctypes.byref(count))


def use_model(library: abi.Library, model: Any, **engine_options: Any) -> dict[str, Any]:
    """Runs a short request as far as the model allows; its finish event."""
    tokenizer, engine = library.tokenizer_of(model), ctypes.c_void_p()
    use_tokenizer(library, tokenizer)
    library.tokenizer_release(tokenizer)
    # A context of 64: a file that claims 2^31 must not make the test reserve it.
    options = library.defaults("ftk_engine_options", context_tokens=64, threads=1, **engine_options)
    if not explained(library, library.engine_create(model, ctypes.byref(options), ctypes.byref(engine))):
        return {}
    request, identity = library.text_request(b"x = 1\n", max_tokens=3, temperature=0), ctypes.c_uint64()
    last: dict[str, Any] = {}
    if explained(library, library.submit(engine, ctypes.byref(request), ctypes.byref(identity))):
        last = library.run_until_idle(engine)[-1]
        assert last["kind"] == library.constants["FTK_EVENT_FINISH"], last
    library.engine_destroy(engine)
    return last
