"""Foretoken: fast text generation with large language models on CPUs.

    import foretoken
    with foretoken.Model("target.gguf") as model, foretoken.Engine(model) as engine:
        for chunk in engine.stream("def main():", max_tokens=64, temperature=0):
            print(chunk.text, end="", flush=True)

Copyright (c) 2026 The Foretoken Authors. Licensed under the Apache License, Version 2.0.
"""

from ._library import library_version
from ._version import __version__
from .engine import Engine
from .errors import (
    CancelledError,
    ContextTooLongError,
    CorruptFileError,
    FileAccessError,
    ForetokenError,
    InternalError,
    InvalidArgumentError,
    LibraryLoadError,
    NotFoundError,
    OutOfMemoryError,
    QueueFullError,
    StructSizeError,
    UnsupportedArchitectureError,
    UnsupportedFormatError,
    UnsupportedQuantizationError,
    VocabularyMismatchError,
    WrongStateError,
)
from .model import SELF_DRAFT, Model, bundled
from .options import EngineOptions, RequestOptions, memory_plan
from .request import Request
from .results import (
    Chunk,
    Completion,
    EngineStats,
    MemoryPlan,
    ModelInfo,
    PromptLogprobs,
    RequestStats,
    Score,
    TokenizerInfo,
    Usage,
)
from .selftest import SelfTestCheck, selftest
from .tokenizer import StreamDecoder, Tokenizer

__all__ = [
    "SELF_DRAFT",
    "CancelledError",
    "Chunk",
    "Completion",
    "ContextTooLongError",
    "CorruptFileError",
    "Engine",
    "EngineOptions",
    "EngineStats",
    "FileAccessError",
    "ForetokenError",
    "InternalError",
    "InvalidArgumentError",
    "LibraryLoadError",
    "MemoryPlan",
    "Model",
    "ModelInfo",
    "NotFoundError",
    "OutOfMemoryError",
    "PromptLogprobs",
    "QueueFullError",
    "Request",
    "RequestOptions",
    "RequestStats",
    "Score",
    "SelfTestCheck",
    "StreamDecoder",
    "StructSizeError",
    "Tokenizer",
    "TokenizerInfo",
    "UnsupportedArchitectureError",
    "UnsupportedFormatError",
    "UnsupportedQuantizationError",
    "Usage",
    "VocabularyMismatchError",
    "WrongStateError",
    "__version__",
    "bundled",
    "library_version",
    "memory_plan",
    "selftest",
]
