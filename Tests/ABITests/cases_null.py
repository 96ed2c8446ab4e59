"""NULL for every pointer parameter of every function, generated from the header."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import abi
import children
import header
from fixture import Fixture

# What the header allows to be NULL, and the statuses that may come of it.
NULLABLE = {
    ("ftk_model_open", "options"): ("FTK_OK",),
    ("ftk_model_make_draft", "options"): ("FTK_OK",),
    ("ftk_memory_plan_compute", "draft_path"): ("FTK_OK",),
    ("ftk_memory_plan_compute", "options"): ("FTK_OK",),
    ("ftk_engine_create", "options"): ("FTK_OK",),
    ("ftk_selftest", "options"): ("FTK_OK",),
    ("ftk_selftest", "user_data"): ("FTK_OK",),
    # NULL is the model's own template, and the tiny models have none.
    ("ftk_tokenizer_apply_chat_template", "chat_template"): ("NOT_FOUND", "UNSUPPORTED_FORMAT", "INVALID_ARGUMENT"),
    ("ftk_tokenizer_encode_chat", "chat_template"): ("NOT_FOUND", "UNSUPPORTED_FORMAT", "INVALID_ARGUMENT"),
}
RELEASE = {
    "ftk_controller": "controller_destroy",
    "ftk_model": "model_release",
    "ftk_tokenizer": "tokenizer_release",
    "ftk_decoder": "decoder_destroy",
    "ftk_engine": "engine_destroy",
}


def cases(library: abi.Library) -> Iterator[children.Case]:
    fixture = Fixture(library)
    for function in library.header.functions.values():
        for parameter in function.parameters:
            if parameter.is_pointer:
                yield f"{function.name}({parameter.name} = NULL)", _case(fixture, function, parameter)


def _case(fixture: Fixture, function: header.Function, parameter: header.Variable) -> children.Callable[[], None]:
    def run() -> None:
        library = fixture.library
        arguments = fixture.arguments(function)
        arguments[parameter.name] = None
        result = fixture.call(function, arguments)
        if function.result == "void":
            return
        if function.result != "ftk_status":
            assert result == 0, result
            return
        allowed = NULLABLE.get((function.name, parameter.name))
        if allowed is not None:
            children.expect(library, result, *allowed)
            _release_outputs(fixture, function, arguments)
            return
        children.expect(library, result, "INVALID_ARGUMENT", names=parameter.name)
        for other in function.parameters:
            _expect_reset(function, other, arguments[other.name])

    return run


def _is_new_handle(parameter: header.Variable) -> bool:
    return parameter.type.endswith("**")


def _expect_reset(function: header.Function, parameter: header.Variable, value: object) -> None:
    """After a failure result parameters are NULL or 0."""
    if value is None or not isinstance(value, ctypes._SimpleCData) or not parameter.is_pointer:
        return
    scalar_output = parameter.target in abi.SCALARS
    if _is_new_handle(parameter) or scalar_output:
        assert not value.value or parameter.name == "descriptor" and value.value < 0, (
            f"{function.name} failed and left {value.value} in {parameter.name}"
        )


def _release_outputs(fixture: Fixture, function: header.Function, arguments: dict[str, object]) -> None:
    for parameter in function.parameters:
        if _is_new_handle(parameter):
            getattr(fixture.library, RELEASE[parameter.target[:-1]])(arguments[parameter.name])
