"""Requests that cannot be: every field out of range, prompts that contradict each other, tokens that do not exist."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import abi
import children
import support

NAN, INF = float("nan"), float("inf")
BIG = 2**31 - 1

FIELDS: dict[str, list[Any]] = {
    "max_tokens": [-2, -BIG, 0],
    "temperature": [-0.5, -1e-30, NAN, INF, -INF],
    "top_k": [-1, -BIG],
    "top_p": [0.0, -0.1, 1.5, NAN, INF, -INF],
    "min_p": [-0.1, 1.5, NAN, INF, -INF],
    "repetition_penalty": [0.0, -1.0, NAN, INF, -INF],
    "presence_penalty": [NAN, INF, -INF],
    "frequency_penalty": [NAN, INF, -INF],
    "ignore_eos": [2, 2**32 - 1],
    "logprobs": [-2, 1025, BIG],
    "prompt_logprobs": [-2, 1025, BIG],
    "logprobs_kind": [-1, 2, BIG],
    "speculation": [-2, 17, BIG],
    "reserved": [1, BIG],
    "reserved2": [1, BIG],
    "verification": [-1, 3, BIG],
    "reserved3": [1, BIG],
    "n": [0, 65, 2**32 - 1],
    "target_ttft_us": [-2, 0, 2**63 - 1, -(2**63)],
    "target_tpot_us": [-2, 0, 2**63 - 1, -(2**63)],
    "deadline_us": [-2, 0, 2**63 - 1, -(2**63)],
    # Pointers that are missing where a count says that there is something.
    "logit_bias_count": [1],
    "stop_count": [1],
    "stop_token_count": [1],
    "grammar": [b"", b"root ::= ", b"root ::= root", b"\xff"],
    "json_schema": [b"", b"{", b'{"type": 5}', b"\xff"],
    # An option that does nothing is an error.
    "chat_template": [b"chatml"],
}
VOCABULARY = 4096
CONTEXT = 2048


def cases(library: abi.Library) -> Iterator[children.Case]:
    engine = library.create_engine(library.open_model(support.DRAFT), threads=1)
    for field, values in FIELDS.items():
        for value in values:
            name = field.removesuffix("_count").replace("stop_token", "stop_tokens")
            yield f"{field} = {value}", case(library, engine, partial(valid, library, **{field: value}), name)
    yield from _prompts(library, engine)
    yield from _messages(library, engine)
    yield from _arrays(library, engine)
    yield "all fields at their limits", lambda: _limits(library, engine)


def valid(library: abi.Library, **fields: Any) -> Any:
    return library.text_request(b"def main():", **{"max_tokens": 1, **fields})


def case(library: abi.Library, engine: Any, make: Callable[[], Any], names: Any, *wanted: str) -> Callable[[], None]:
    def run() -> None:
        before, request = submitted(library, engine), ctypes.c_uint64(7)
        status = library.submit(engine, ctypes.byref(make()), ctypes.byref(request))
        children.expect(library, status, *(wanted or ("INVALID_ARGUMENT",)), names=names)
        if status == 0:
            library.run_until_idle(engine)
            return
        assert request.value == 0, f"a failed submit left the id {request.value}"
        assert submitted(library, engine) == before, "a refused request is in the engine"

    return run


def submitted(library: abi.Library, engine: Any) -> tuple[int, int]:
    stats = library.new("ftk_engine_stats")
    library.ok(library.engine_get_stats(engine, ctypes.byref(stats)))
    return stats.submitted_requests, stats.running_requests + stats.queued_requests


def tokens_request(library: abi.Library, tokens: list[int], **fields: Any) -> Any:
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    return library.defaults(
        "ftk_request_options", prompt_tokens=array, prompt_token_count=len(tokens), max_tokens=1, **fields
    )


def chat_request(library: abi.Library, *messages: tuple[bytes | None, bytes | None], **fields: Any) -> Any:
    array = (library.types.structs["ftk_chat_message"] * max(len(messages), 1))()
    for element, (role, content) in zip(array, messages):
        element.struct_size, element.role, element.content = ctypes.sizeof(element), role, content
    return library.defaults(
        "ftk_request_options",
        **{"messages": array, "message_count": len(messages), "chat_template": b"chatml", "max_tokens": 1, **fields},
    )


def _prompts(library: abi.Library, engine: Any) -> Iterator[children.Case]:
    def refused(name: str, make: Callable[[], Any], names: Any, *wanted: str) -> children.Case:
        return name, case(library, engine, make, names, *wanted)

    def both(**fields: Any) -> Any:
        return valid(library, **fields)

    array = (ctypes.c_int32 * 1)(5)
    message = (library.types.structs["ftk_chat_message"] * 1)(
        library.new("ftk_chat_message", role=b"user", content=b"x")
    )
    yield refused("no prompt", lambda: library.defaults("ftk_request_options", max_tokens=1), "prompt")
    yield refused("text and tokens", lambda: both(prompt_tokens=array, prompt_token_count=1), "prompt_tokens")
    yield refused("text and messages", lambda: both(messages=message, message_count=1), "messages")
    yield refused(
        "tokens and messages", lambda: tokens_request(library, [5], messages=message, message_count=1), "messages"
    )
    yield refused("prompt_bytes without prompt", lambda: both(prompt=None), "prompt")
    yield refused(
        "prompt_token_count without prompt_tokens",
        lambda: library.defaults("ftk_request_options", prompt_token_count=3, max_tokens=1),
        "prompt_tokens",
    )
    yield refused(
        "message_count without messages",
        lambda: library.defaults("ftk_request_options", message_count=3, max_tokens=1),
        "messages",
    )
    yield refused("no tokens", lambda: library.defaults("ftk_request_options", prompt_tokens=array), "prompt_tokens")
    for text in (b"\xff\xfe", b"ab\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf4\x90\x80\x80"):
        yield refused(f"prompt {text!r}", partial(library.text_request, text, max_tokens=1), ["prompt", "UTF-8"])
    for token in (-1, -(2**31), VOCABULARY, BIG):
        yield refused(
            f"prompt token {token}", partial(tokens_request, library, [5, token]), ["prompt_tokens", str(token)]
        )
    yield refused(
        "tokens that fill the context", lambda: tokens_request(library, [5] * CONTEXT), str(CONTEXT), "CONTEXT_TOO_LONG"
    )
    yield refused(
        "text of 100 contexts", lambda: library.text_request(b"x = 1\n" * 50000), str(CONTEXT), "CONTEXT_TOO_LONG"
    )


def _messages(library: abi.Library, engine: Any) -> Iterator[children.Case]:
    def refused(name: str, make: Callable[[], Any], names: Any, *wanted: str) -> children.Case:
        return name, case(library, engine, make, names, *wanted)

    templates = ("INVALID_ARGUMENT", "UNSUPPORTED_FORMAT", "NOT_FOUND")
    hello = (b"user", b"Hi")
    # An empty conversation is a prompt where the template writes something without one.
    yield refused("no messages", lambda: chat_request(library), "messages", "INVALID_ARGUMENT", "FTK_OK")
    yield refused("a role of NULL", lambda: chat_request(library, hello, (None, b"x")), ["messages[1]", "role"])
    yield refused(
        "a content of NULL", lambda: chat_request(library, hello, (b"user", None)), ["messages[1]", "content"]
    )
    yield refused(
        "a content of invalid UTF-8", lambda: chat_request(library, (b"user", b"\xff")), ["messages[0]", "UTF-8"]
    )
    yield refused("a role of invalid UTF-8", lambda: chat_request(library, (b"\xff", b"x")), ["messages[0]", "UTF-8"])
    for name, template in TEMPLATES.items():
        make = partial(chat_request, library, hello, chat_template=template)
        allowed = (*templates, "FTK_OK") if name in UNDECIDED else templates
        yield refused(name, make, "template", *allowed)


TEMPLATES = {
    "no template anywhere": None,
    "an unknown template": b"no-such-template",
    "an empty template": b"",
    "a template of invalid UTF-8": b"{{ '\xff' }}",
    "a template that is cut": b"{% for m in messages %}{{ m.content",
    "a template without its end": b"{% for m in messages %}{{ m.content }}",
    "a template with an unknown statement": b"{% frobnicate %}",
    "a template nested too deeply": b"{% if true %}" * 20000 + b"x" + b"{% endif %}" * 20000,
    "an expression nested too deeply": b"{{ " + b"(" * 20000 + b"1" + b")" * 20000 + b" }}",
    "a list nested too deeply": b"{{ " + b"[" * 20000 + b"]" * 20000 + b" }}",
    "a template that never ends": b"{% for i in range(1000000000) %}{% for j in range(1000000000) %}x{% endfor %}{% endfor %}",
    "a template that multiplies text": b"{{ 'x' * 1000000000000 }}",
    "a template that divides by zero": b"{{ 1 // 0 }}",
    "a template that takes a remainder of zero": b"{{ 1 % 0 }}",
    "a template that overflows": b"{{ 9223372036854775807 + 9223372036854775807 }}",
    "a template with a huge index": b"{{ messages[9223372036854775807].content }}",
    "a template that raises": b"{{ raise_exception('no such role') }}",
}

# Whether these are errors is the template language's affair; that they do not abort is ours.
UNDECIDED = {"a template that overflows", "a template with a huge index"}


def _arrays(library: abi.Library, engine: Any) -> Iterator[children.Case]:
    def refused(name: str, make: Callable[[], Any], names: Any) -> children.Case:
        return name, case(library, engine, make, names)

    for texts in ([b""], [b"ok", b""], [None], [b"\xff"]):
        array = (ctypes.c_char_p * len(texts))(*texts)
        make = partial(valid, library, stop=array, stop_count=len(array))
        yield refused(f"stop {texts!r}", make, "stop")
    for token in (-1, VOCABULARY, BIG):
        array = (ctypes.c_int32 * 2)(5, token)
        make = partial(valid, library, stop_tokens=array, stop_token_count=2)
        yield refused(f"stop token {token}", make, ["stop_tokens", str(token)])
    biases = [(-1, 1.0), (VOCABULARY, 1.0), (BIG, 1.0), (5, NAN), (5, INF)]
    for token, bias in biases:
        array = (library.types.structs["ftk_logit_bias"] * 1)((token, bias))
        make = partial(valid, library, logit_bias=array, logit_bias_count=1)
        yield refused(f"logit_bias {token}: {bias}", make, "logit_bias")


def _limits(library: abi.Library, engine: Any) -> None:
    """What is just allowed works, all of it at once."""
    forbidden = (library.types.structs["ftk_logit_bias"] * 1)((5, -INF))
    stops = (ctypes.c_char_p * 1)(b"no such text")
    tokens = (ctypes.c_int32 * 1)(VOCABULARY - 1)
    options = valid(
        library,
        max_tokens=3,
        temperature=1e30,
        top_k=BIG,
        top_p=1e-30,
        min_p=1.0,
        repetition_penalty=1e-6,
        presence_penalty=-1e30,
        frequency_penalty=1e30,
        ignore_eos=1,
        logit_bias=forbidden,
        logit_bias_count=1,
        stop=stops,
        stop_count=1,
        stop_tokens=tokens,
        stop_token_count=1,
        logprobs=100,
        prompt_logprobs=100,
        logprobs_kind=library.constants["FTK_LOGPROBS_PROCESSED"],
        speculation=16,
        priority=-BIG,
        target_ttft_us=1,
        target_tpot_us=2**59,
        deadline_us=2**59,
        cache_salt=2**64 - 1,
        n=64,
        verification=library.constants["FTK_VERIFICATION_BLOCK"],
    )
    library.submit_options(engine, options)
    finished = [event for event in library.run_until_idle(engine) if event["kind"] == library.constants["FTK_EVENT_FINISH"]]
    assert {event["sample"] for event in finished} == set(range(64)), finished
    assert all(event["error"] == 0 for event in finished), finished
