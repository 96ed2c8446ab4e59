"""The weights and tokenizer of one model."""

from __future__ import annotations

import ctypes
import os
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Callable

from . import _abi
from ._handle import Handle
from ._library import check, checked_int, library, path_bytes
from .errors import NotFoundError
from .results import ModelInfo, from_struct
from .tokenizer import Tokenizer

if TYPE_CHECKING:
    from typing_extensions import Self

Progress = Callable[[int, int], Any]
"""Called with (done_bytes, total_bytes) while a model loads; a true result cancels."""


class Model:
    """A GGUF file or Hugging Face folder, loaded. Several engines and threads may share it."""

    def __init__(self, path: str | os.PathLike[str], threads: int = 0, progress: Progress | None = None) -> None:
        """Loads the weights with `threads` threads (0: as many as the process may use)."""
        name = path_bytes(path, "path")
        self._load(lambda *out: library().ftk_model_open(name, *out), threads, progress)

    def _load(self, call: Callable[..., int], threads: int, progress: Progress | None) -> None:
        """Takes the handle that `call` makes with options and a place for it."""
        lib = library()
        options = _abi.ftk_model_options()
        check(lib.ftk_model_options_init_sized(ctypes.byref(options), ctypes.sizeof(options)))
        options.threads = checked_int(threads, ctypes.c_uint32, "threads")
        failures: list[BaseException] = []
        if progress is not None:
            options.progress = _progress_callback(progress, failures)
        pointer = ctypes.c_void_p()
        status = call(ctypes.byref(options), ctypes.byref(pointer))
        if failures:
            if pointer.value is not None:
                lib.ftk_model_release(pointer)
            raise failures[0]
        check(status)
        assert pointer.value is not None
        self._handle = Handle(self, pointer.value, lib.ftk_model_release, "model")

    def make_draft(self, threads: int = 0, progress: Progress | None = None) -> Model:
        """A draft model made of this model's own weights in Q4_0, for Engine(model, draft=model.make_draft()). It keeps the
        memory of this model; its info.weights_bytes is what it takes beyond that. An error where the model has so few bits
        that such a draft cannot pay."""
        draft = Model.__new__(Model)
        draft._load(lambda *out: library().ftk_model_make_draft(self.pointer, *out), threads, progress)
        return draft

    @property
    def pointer(self) -> int:
        """The ftk_model handle; an error once the model is closed."""
        return self._handle.pointer

    @cached_property
    def info(self) -> ModelInfo:
        struct = _abi.ftk_model_info(struct_size=ctypes.sizeof(_abi.ftk_model_info))
        check(library().ftk_model_get_info(self.pointer, ctypes.byref(struct)))
        info: ModelInfo = from_struct(ModelInfo, struct)
        return info

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer; it may outlive the model."""
        pointer = ctypes.c_void_p()
        check(library().ftk_model_get_tokenizer(self.pointer, ctypes.byref(pointer)))
        assert pointer.value is not None
        return Tokenizer(pointer.value)

    def close(self) -> None:
        """Gives the model up; engines that use it keep it alive."""
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


SELF_DRAFT = _abi.FTK_SELF_DRAFT
"""For memory_plan, in the place of a draft's path: the draft of Model.make_draft."""


def _progress_callback(progress: Progress, failures: list[BaseException]) -> Any:
    def call(done: int, total: int, _: Any) -> int:
        try:
            return 1 if progress(done, total) else 0
        except BaseException as error:  # noqa: BLE001 (Model raises it once the library has returned)
            failures.append(error)
            return 1

    return _abi.ftk_progress_callback(call)


def bundled(name: str) -> Path:
    """The path of a model of the tiny pair that comes with this package: "target" or "draft"."""
    path = Path(__file__).resolve().parent / "models" / f"foretoken-tiny-{name}-Q8_0.gguf"
    if name not in ("target", "draft") or not path.exists():
        raise NotFoundError(f'no bundled model "{name}" at {path}; there are "target" and "draft"')
    return path
