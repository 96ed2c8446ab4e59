"""The library's errors as exceptions."""

from __future__ import annotations

from . import _abi


class ForetokenError(Exception):
    """An error of the library: `status` is its ftk_status, the text says what, where and what to do."""

    status: int = _abi.FTK_ERROR_INTERNAL

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.text = text
        if status is not None:
            self.status = status


class InvalidArgumentError(ForetokenError, ValueError):
    """An argument is out of range or contradicts another; the text names it."""

    status = _abi.FTK_ERROR_INVALID_ARGUMENT


class StructSizeError(ForetokenError):
    """This package and the library were not made for each other."""

    status = _abi.FTK_ERROR_STRUCT_SIZE


class FileAccessError(ForetokenError):
    """The system refused to open or read a file."""

    status = _abi.FTK_ERROR_IO


class CorruptFileError(ForetokenError):
    """A file contradicts itself or its format."""

    status = _abi.FTK_ERROR_CORRUPT_FILE


class UnsupportedArchitectureError(ForetokenError):
    """The model is of an architecture that the library does not run."""

    status = _abi.FTK_ERROR_UNSUPPORTED_ARCHITECTURE


class UnsupportedQuantizationError(ForetokenError):
    """The weights are of a type that the library does not read."""

    status = _abi.FTK_ERROR_UNSUPPORTED_QUANTIZATION


class UnsupportedFormatError(ForetokenError):
    """A tokenizer, template or file version is not supported."""

    status = _abi.FTK_ERROR_UNSUPPORTED_FORMAT


class VocabularyMismatchError(ForetokenError):
    """Draft and target do not share their tokens."""

    status = _abi.FTK_ERROR_VOCABULARY_MISMATCH


class OutOfMemoryError(ForetokenError):
    """The memory or the KV budget does not suffice."""

    status = _abi.FTK_ERROR_OUT_OF_MEMORY


class QueueFullError(ForetokenError):
    """Too many requests wait; try again after others have finished."""

    status = _abi.FTK_ERROR_QUEUE_FULL


class ContextTooLongError(ForetokenError):
    """The prompt does not fit into the context."""

    status = _abi.FTK_ERROR_CONTEXT_TOO_LONG


class CancelledError(ForetokenError):
    """The progress callback asked to stop."""

    status = _abi.FTK_ERROR_CANCELLED


class WrongStateError(ForetokenError):
    """The object is closed, or the call does not belong to its run mode."""

    status = _abi.FTK_ERROR_WRONG_STATE


class NotFoundError(ForetokenError):
    """No such request, or nothing of that name."""

    status = _abi.FTK_ERROR_NOT_FOUND


class InternalError(ForetokenError):
    """A fault of the library; please report it."""

    status = _abi.FTK_ERROR_INTERNAL


class LibraryLoadError(ForetokenError, ImportError):
    """libforetoken.so.0 was not found, or is not the one for this package."""

    status = _abi.FTK_ERROR_NOT_FOUND


_BY_STATUS: dict[int, type[ForetokenError]] = {
    cls.status: cls
    for cls in (
        InvalidArgumentError,
        StructSizeError,
        FileAccessError,
        CorruptFileError,
        UnsupportedArchitectureError,
        UnsupportedQuantizationError,
        UnsupportedFormatError,
        VocabularyMismatchError,
        OutOfMemoryError,
        QueueFullError,
        ContextTooLongError,
        CancelledError,
        WrongStateError,
        NotFoundError,
        InternalError,
    )
}


def error_of(status: int, text: str) -> ForetokenError:
    """The exception for a negative ftk_status."""
    return _BY_STATUS.get(status, ForetokenError)(text, status)
