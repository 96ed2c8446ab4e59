"""Python values to the library's option structs, with errors that name the option."""

from __future__ import annotations

import ctypes
import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Callable, TypedDict, Union

from . import _abi
from ._library import c_text, check, checked_int, int32_array, library, path_bytes, utf8
from .errors import InvalidArgumentError
from .results import MemoryPlan, from_struct
from .tokenizer import Message, chat_array

if TYPE_CHECKING:
    from .model import Model

Prompt = Union[str, bytes, Sequence[int], Sequence[Message]]
"""Text (special tokens in it are parsed), token ids, or the messages of a conversation."""

Log = Callable[[str, str], Any]
"""Called with (level, message) on any thread; level is "error", "warning", "info" or "debug"."""

POLICIES = {
    "off": _abi.FTK_POLICY_OFF,
    "static": _abi.FTK_POLICY_STATIC,
    "smartspec": _abi.FTK_POLICY_SMARTSPEC,
    "turbospec": _abi.FTK_POLICY_TURBOSPEC,
    "adaspec": _abi.FTK_POLICY_ADASPEC,
    "goodput": _abi.FTK_POLICY_GOODPUT,
}
DRAFTERS = {
    "auto": _abi.FTK_DRAFTER_AUTO,
    "lookup": _abi.FTK_DRAFTER_LOOKUP,
    "model": _abi.FTK_DRAFTER_MODEL,
    "suffix": _abi.FTK_DRAFTER_SUFFIX,
}
ACTIVATIONS = {"f32": _abi.FTK_ACTIVATIONS_F32, "q8": _abi.FTK_ACTIVATIONS_Q8}
KV_TYPES = {"auto": _abi.FTK_KV_AUTO, "f32": _abi.FTK_KV_F32, "f16": _abi.FTK_KV_F16, "q8_0": _abi.FTK_KV_Q8_0}
LOG_LEVELS = {
    "error": _abi.FTK_LOG_ERROR,
    "warning": _abi.FTK_LOG_WARNING,
    "info": _abi.FTK_LOG_INFO,
    "debug": _abi.FTK_LOG_DEBUG,
}
LOGPROBS_KINDS = {"raw": _abi.FTK_LOGPROBS_RAW, "processed": _abi.FTK_LOGPROBS_PROCESSED}
VERIFICATIONS = {
    "coupled": _abi.FTK_VERIFICATION_COUPLED,
    "rejection": _abi.FTK_VERIFICATION_REJECTION,
    "block": _abi.FTK_VERIFICATION_BLOCK,
}


class EngineOptions(TypedDict, total=False):
    """Keyword arguments of Engine and memory_plan; what is left out has the library's default."""

    policy: str
    drafter: str
    draft_tokens: int
    kv: str
    activations: str
    background: bool
    kv_budget_bytes: int
    context_tokens: int
    threads: int
    max_running_requests: int
    max_queued_requests: int
    max_step_tokens: int
    log: Log | None
    log_level: str
    draft_pool_bytes: int
    trace: bool
    tree_width: int
    profile_us: int
    profile_folder: None | str | os.PathLike[str]


class RequestOptions(TypedDict, total=False):
    """Keyword arguments of a request; what is left out or None has the library's default (see ftk_request_options)."""

    max_tokens: int | None
    chat_template: str | None
    temperature: float | None
    top_k: int | None
    top_p: float | None
    min_p: float | None
    repetition_penalty: float | None
    presence_penalty: float | None
    frequency_penalty: float | None
    ignore_eos: bool | None
    logit_bias: Mapping[int, float] | None
    seed: int | None
    stop: None | str | Sequence[str]
    stop_tokens: Iterable[int] | None
    logprobs: int | None
    prompt_logprobs: int | None
    logprobs_kind: str | None
    speculation: None | int | str
    priority: int | None
    target_ttft_us: int | None
    target_tpot_us: int | None
    deadline_us: int | None
    grammar: str | None
    json_schema: None | str | Mapping[str, Any]
    cache_salt: int | None
    n: int | None
    verification: str | None


def choice(name: str, value: Any, values: Mapping[str, int]) -> int:
    """The constant of a name."""
    if isinstance(value, str) and value in values:
        return values[value]
    close = difflib.get_close_matches(value, values, 1) if isinstance(value, str) else []
    hint = f'; did you mean "{close[0]}"?' if close else ""
    known = ", ".join(f'"{key}"' for key in values)
    raise InvalidArgumentError(f"{name} must be one of {known}, not {value!r}{hint}")


def _reject_unknown(given: Iterable[str], known: Iterable[str]) -> None:
    known = sorted(known)
    for name in given:
        if name not in known:
            close = difflib.get_close_matches(name, known, 1)
            raise TypeError(
                f"unknown option {name!r}; " + (f"did you mean {close[0]!r}?" if close else f"one of {known}")
            )


def _number(value: Any, name: str) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise InvalidArgumentError(f"{name} must be a number, not {value!r}") from None


def _log_callback(log: Log) -> Any:
    names = {value: name for name, value in LOG_LEVELS.items()}

    def call(level: int, message: bytes, _: Any) -> None:
        log(names.get(level, "error"), message.decode("utf-8", "replace"))

    return _abi.ftk_log_callback(call)


def engine_options(options: EngineOptions, draft: Model | None = None) -> _abi.ftk_engine_options:
    _reject_unknown(options, EngineOptions.__annotations__)
    struct = _abi.ftk_engine_options()
    check(library().ftk_engine_options_init_sized(ctypes.byref(struct), ctypes.sizeof(struct)))
    for name, value in options.items():
        if name == "policy":
            struct.policy = choice(name, value, POLICIES)
        elif name == "drafter":
            struct.drafter = choice(name, value, DRAFTERS)
        elif name == "kv":
            struct.kv_type = choice(name, value, KV_TYPES)
        elif name == "activations":
            struct.activations = choice(name, value, ACTIVATIONS)
        elif name == "log_level":
            struct.log_level = choice(name, value, LOG_LEVELS)
        elif name == "background":
            struct.run_mode = _abi.FTK_RUN_BACKGROUND if value else _abi.FTK_RUN_MANUAL
        elif name == "trace":
            struct.trace = bool(value)
        elif name == "profile_folder":
            struct.profile_folder = None if value is None else path_bytes(value, name)
        elif name == "log":
            if callable(value):
                struct.log = _log_callback(value)
            elif value is not None:
                raise InvalidArgumentError(f"log must be a function of (level, message), not {value!r}")
        else:
            setattr(struct, name, checked_int(value, _field_type(struct, name), name))
    if draft is not None:
        struct.draft_model = draft.pointer
    return struct


def _field_type(struct: ctypes.Structure, name: str) -> Any:
    return next(field[1] for field in struct._fields_ if field[0] == name)


def memory_plan(
    target: str | os.PathLike[str], draft: str | os.PathLike[str] | None = None, **options: Any
) -> MemoryPlan:
    """What an engine with these options (see EngineOptions) would need, from the headers of the files alone. draft may be
    SELF_DRAFT."""
    struct = engine_options(options)  # type: ignore[arg-type]
    plan = _abi.ftk_memory_plan(struct_size=ctypes.sizeof(_abi.ftk_memory_plan))
    draft_path = None if draft is None else path_bytes(draft, "draft")
    check(
        library().ftk_memory_plan_compute(
            path_bytes(target, "target"), draft_path, ctypes.byref(struct), ctypes.byref(plan)
        )
    )
    result: MemoryPlan = from_struct(MemoryPlan, plan)
    return result


def request_options(prompt: Prompt, options: RequestOptions) -> _abi.ftk_request_options:
    """The struct of a request; it keeps everything that it points to alive."""
    _reject_unknown(options, RequestOptions.__annotations__)
    struct = _abi.ftk_request_options()
    check(library().ftk_request_options_init_sized(ctypes.byref(struct), ctypes.sizeof(struct)))
    _set_prompt(struct, prompt)
    for name, value in options.items():
        if value is not None:
            setter = _SETTERS.get(name)
            if setter is not None:
                setter(struct, value)
            elif _field_type(struct, name) is ctypes.c_float:
                setattr(struct, name, _number(value, name))
            else:
                setattr(struct, name, checked_int(value, _field_type(struct, name), name))
    return struct


def _set_prompt(struct: _abi.ftk_request_options, prompt: Prompt) -> None:
    if isinstance(prompt, (str, bytes)):
        data = utf8(prompt, "prompt")
        struct.prompt, struct.prompt_bytes = data, len(data)
        return
    items: list[Any] = list(prompt) if isinstance(prompt, Iterable) else []
    if not items:
        raise InvalidArgumentError(f"prompt must be text, token ids or messages, and not empty: {prompt!r}")
    if isinstance(items[0], Mapping):
        struct.messages, struct.message_count = chat_array(items), len(items)
    else:
        struct.prompt_tokens, struct.prompt_token_count = int32_array(items, "prompt"), len(items)


def _set_logit_bias(struct: _abi.ftk_request_options, value: Mapping[int, float]) -> None:
    if not isinstance(value, Mapping):
        raise InvalidArgumentError(f"logit_bias must map token ids to numbers, not {value!r}")
    pairs = [
        _abi.ftk_logit_bias(
            checked_int(token, ctypes.c_int32, "a token of logit_bias"), _number(bias, f"logit_bias[{token}]")
        )
        for token, bias in value.items()
    ]
    if pairs:
        struct.logit_bias, struct.logit_bias_count = (_abi.ftk_logit_bias * len(pairs))(*pairs), len(pairs)


def _set_stop(struct: _abi.ftk_request_options, value: str | Sequence[str]) -> None:
    texts = [value] if isinstance(value, (str, bytes)) else list(value)
    if texts:
        array = [c_text(text, f"stop[{index}]") for index, text in enumerate(texts)]
        struct.stop, struct.stop_count = (ctypes.c_char_p * len(array))(*array), len(array)


def _set_stop_tokens(struct: _abi.ftk_request_options, value: Iterable[int]) -> None:
    tokens = int32_array(list(value), "stop_tokens")
    if len(tokens):
        struct.stop_tokens, struct.stop_token_count = tokens, len(tokens)


def _set_json_schema(struct: _abi.ftk_request_options, value: str | Mapping[str, Any]) -> None:
    text = json.dumps(value) if isinstance(value, Mapping) else value
    struct.json_schema = c_text(text, "json_schema")


def _set_speculation(struct: _abi.ftk_request_options, value: int | str) -> None:
    if isinstance(value, str):
        struct.speculation = choice("speculation", value, {"auto": _abi.FTK_SPECULATION_AUTO, "off": 0})
    else:
        struct.speculation = checked_int(value, ctypes.c_int32, "speculation")


_SETTERS: dict[str, Callable[[_abi.ftk_request_options, Any], None]] = {
    "chat_template": lambda struct, value: setattr(struct, "chat_template", c_text(value, "chat_template")),
    "grammar": lambda struct, value: setattr(struct, "grammar", c_text(value, "grammar")),
    "json_schema": _set_json_schema,
    "ignore_eos": lambda struct, value: setattr(struct, "ignore_eos", 1 if value else 0),
    "logit_bias": _set_logit_bias,
    "logprobs_kind": lambda struct, value: setattr(
        struct, "logprobs_kind", choice("logprobs_kind", value, LOGPROBS_KINDS)
    ),
    "stop": _set_stop,
    "stop_tokens": _set_stop_tokens,
    "speculation": _set_speculation,
    "verification": lambda struct, value: setattr(
        struct, "verification", choice("verification", value, VERIFICATIONS)
    ),
}
