"""Calls in the wrong state, unknown ids, full queues, and tokenizers asked for what they do not have."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from functools import partial
from typing import Any

import abi
import children
import support
from cases_request import VOCABULARY


def cases(library: abi.Library) -> Iterator[children.Case]:
    model = library.open_model(support.DRAFT)
    for function in (
        step_in_background,
        trace_without_trace,
        unknown_requests,
        drafts_of_unknown_requests,
        impossible_drafts,
        drafts_of_any_kind,
        queue_full,
        samples_in_the_queue,
        cancelled_samples,
        never_fits,
        empty_text,
        nothing_to_do,
        batch_index,
        destroy_while_polling_is_over,
        error_texts_are_per_thread,
        failed_calls_keep_the_engine_usable,
    ):
        yield function.__name__, partial(function, library, model)
    tokenizer = library.tokenizer_of(model)
    for function in (wrong_tokens, wrong_text, wrong_flags, truncation, decoder_misuse):
        yield function.__name__, partial(function, library, tokenizer)


def step_in_background(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model, run_mode=library.constants["FTK_RUN_BACKGROUND"])
    children.expect(library, library.engine_step(engine), "WRONG_STATE", names="background")
    library.engine_destroy(engine)


def trace_without_trace(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    size = ctypes.c_size_t(77)
    children.expect(library, library.engine_trace(engine, None, 0, ctypes.byref(size)), "WRONG_STATE", names="trace")
    assert size.value == 0
    library.engine_destroy(engine)


def unknown_requests(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    for request in (0, 1, 77, 2**64 - 1):
        children.expect(library, library.cancel(engine, request), "NOT_FOUND", names=str(request))
    request = library.submit_options(engine, library.text_request(b"x", max_tokens=1))
    library.run_until_idle(engine)
    children.expect(library, library.cancel(engine, request), "NOT_FOUND", names=str(request))
    library.engine_destroy(engine)


def drafts_of_unknown_requests(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    tokens = (ctypes.c_int32 * 1)(5)
    for request in (0, 1, 77, 2**64 - 1):
        status = library.request_draft(engine, request, 0, tokens, 1)
        children.expect(library, status, "NOT_FOUND", names=str(request))
    request = library.submit_options(engine, library.text_request(b"x", max_tokens=1, n=2))
    for sample in (0, 1):
        library.ok(library.request_draft(engine, request + sample, 0, tokens, 1))
    children.expect(library, library.request_draft(engine, request + 2, 0, tokens, 1), "NOT_FOUND")
    library.run_until_idle(engine)
    for count in (0, 1):
        status = library.request_draft(engine, request, 0, tokens, count)
        children.expect(library, status, "NOT_FOUND", names=str(request))
    library.engine_destroy(engine)


def impossible_drafts(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model, context_tokens=64)
    request = library.submit_options(engine, library.text_request(b"x", max_tokens=20, ignore_eos=1))
    long = (ctypes.c_int32 * 65)()
    for position, tokens, count, names in (
        (65, long, 1, ["position", "65", "64"]),
        (2**63, long, 1, ["position", "64"]),
        (2**64 - 1, long, 0, ["position", "64"]),
        (0, long, 65, ["count", "65", "64"]),
        (0, long, 2**31, ["tokens"]),
        (0, long, 2**64 - 1, ["tokens"]),
        (0, None, 1, ["tokens"]),
        (0, (ctypes.c_int32 * 2)(5, -1), 2, ["tokens[1]", "-1"]),
        (0, (ctypes.c_int32 * 2)(VOCABULARY, 5), 2, ["tokens[0]", str(VOCABULARY)]),
        (0, (ctypes.c_int32 * 1)(-(2**31)), 1, ["tokens[0]"]),
    ):
        status = library.request_draft(engine, request, position, tokens, count)
        children.expect(library, status, "INVALID_ARGUMENT", names=names)
    library.ok(library.request_draft(engine, request, 64, long, 64))
    library.ok(library.request_draft(engine, request, 0, None, 0))
    assert library.run_until_idle(engine)[-1]["finish_reason"] == library.constants["FTK_FINISH_LENGTH"]
    library.engine_destroy(engine)


def drafts_of_any_kind(library: abi.Library, model: Any) -> None:
    """Right, wrong, half right, behind and ahead, in every step: the output is that without drafts."""
    from random import Random

    random = Random(5)
    options = library.text_request(b"def main():\n", max_tokens=48, temperature=0, ignore_eos=1)

    def output(events: list[dict[str, Any]]) -> list[int]:
        return [token for event in events for token in event["tokens"]]

    plain_engine = library.create_engine(model, policy=library.constants["FTK_POLICY_OFF"])
    library.submit_options(plain_engine, options)
    plain = output(library.run_until_idle(plain_engine))
    library.engine_destroy(plain_engine)
    assert len(plain) == 48
    for policy in ("STATIC", "GOODPUT", "SMARTSPEC"):
        engine = library.create_engine(model, policy=library.constants[f"FTK_POLICY_{policy}"])
        for _ in range(3):
            request, events = library.submit_options(engine, options), []
            while True:
                position = random.randrange(60)
                expected = plain[position:][: random.randrange(30)]
                expected += [random.randrange(VOCABULARY) for _ in range(random.choice((0, 0, 5)))]
                array = (ctypes.c_int32 * max(1, len(expected)))(*expected)
                status = library.request_draft(engine, request, position, array, len(expected))
                assert status in (0, library.constants["FTK_ERROR_NOT_FOUND"]), library.error()
                if library.engine_step(engine) != 0:
                    break
                events += library.poll_events(engine)
            assert output(events + library.poll_events(engine)) == plain, policy
        library.engine_destroy(engine)


def queue_full(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model, max_running_requests=1, max_queued_requests=2)
    options = library.text_request(b"x", max_tokens=1)
    request = ctypes.c_uint64()
    statuses = [library.submit(engine, ctypes.byref(options), ctypes.byref(request)) for _ in range(4)]
    children.expect(library, statuses[-1], "QUEUE_FULL", names="max_queued_requests")
    assert request.value == 0
    accepted = statuses.count(0)
    assert accepted in (2, 3), statuses  # queued, and perhaps one that counts as running
    finished = [event for event in library.run_until_idle(engine) if event["kind"] == 3]
    assert len(finished) == accepted
    library.submit_options(engine, options)
    library.engine_destroy(engine)


def samples_in_the_queue(library: abi.Library, model: Any) -> None:
    """Each sample takes a place, and all are queued or none."""
    engine = library.create_engine(model, max_queued_requests=4)
    request = ctypes.c_uint64()
    for n, wanted in ((3, 0), (2, "QUEUE_FULL"), (5, "INVALID_ARGUMENT")):
        options = library.text_request(b"x", max_tokens=2, n=n)
        status = library.submit(engine, ctypes.byref(options), ctypes.byref(request))
        if wanted:
            children.expect(library, status, wanted, names="max_queued_requests")
            assert request.value == 0
        else:
            library.ok(status)
    finished = [event for event in library.run_until_idle(engine) if event["kind"] == 3]
    assert sorted(event["sample"] for event in finished) == [0, 1, 2], finished
    library.engine_destroy(engine)


def cancelled_samples(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model, max_running_requests=2)
    request = library.submit_options(engine, library.text_request(b"x", max_tokens=50, n=3))
    library.ok(library.engine_step(engine))
    library.ok(library.cancel(engine, request))
    for sample in (1, 2):
        children.expect(library, library.cancel(engine, request + sample), "NOT_FOUND", names=str(request + sample))
    reasons = [event["finish_reason"] for event in library.run_until_idle(engine) if event["kind"] == 3]
    assert reasons == [library.constants["FTK_FINISH_CANCELLED"]] * 3, reasons
    children.expect(library, library.cancel(engine, request), "NOT_FOUND", names=str(request))
    library.engine_destroy(engine)


def never_fits(library: abi.Library, model: Any) -> None:
    plan = library.new("ftk_memory_plan")
    library.ok(library.memory_plan_compute(support.DRAFT.encode(), None, None, ctypes.byref(plan)))
    budget = plan.kv_bytes_per_token * plan.kv_block_tokens * 4
    engine = library.create_engine(model, kv_budget_bytes=budget)
    tokens = plan.kv_block_tokens * 8
    options, request = library.text_request(b"x", max_tokens=tokens), ctypes.c_uint64(7)
    status = library.submit(engine, ctypes.byref(options), ctypes.byref(request))
    children.expect(library, status, "OUT_OF_MEMORY", names="kv_budget_bytes")
    library.submit_options(engine, library.text_request(b"x", max_tokens=plan.kv_block_tokens))
    assert library.run_until_idle(engine)[-1]["finish_reason"] == library.constants["FTK_FINISH_LENGTH"]
    library.engine_destroy(engine)


def empty_text(library: abi.Library, model: Any) -> None:
    """The tiny models begin with BOS, so an empty text is a prompt of one token."""
    engine = library.create_engine(model)
    library.submit_options(engine, library.text_request(b"", max_tokens=3))
    assert library.run_until_idle(engine)[-1]["error"] == 0
    library.engine_destroy(engine)


def nothing_to_do(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    batch = ctypes.c_void_p(1)
    assert library.engine_step(engine) == library.constants["FTK_WOULD_BLOCK"]
    for timeout in (0, 1, -1, 2**63 - 1, -(2**63)):  # manual mode never blocks
        assert library.poll(engine, timeout, ctypes.byref(batch)) == library.constants["FTK_WOULD_BLOCK"]
        assert batch.value is None
    library.engine_destroy(engine)


def batch_index(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    library.submit_options(engine, library.text_request(b"x", max_tokens=1))
    while library.ok(library.engine_step(engine)) == 0:
        pass
    batch, event = ctypes.c_void_p(), library.new("ftk_event")
    library.ok(library.poll(engine, 0, ctypes.byref(batch)))
    for index in (library.event_batch_count(batch), 2**64 - 1):
        status = library.event_batch_at(batch, index, ctypes.byref(event))
        children.expect(library, status, "INVALID_ARGUMENT", "NOT_FOUND", names="index")
    library.event_batch_free(batch)
    library.engine_destroy(engine)


def destroy_while_polling_is_over(library: abi.Library, model: Any) -> None:
    """Waiting events are dropped with their engine."""
    for mode in (library.constants["FTK_RUN_MANUAL"], library.constants["FTK_RUN_BACKGROUND"]):
        engine = library.create_engine(model, run_mode=mode)
        for _ in range(4):
            library.submit_options(engine, library.text_request(b"x", max_tokens=8))
        if mode == library.constants["FTK_RUN_MANUAL"]:
            library.ok(library.engine_step(engine))
        library.engine_destroy(engine)


def error_texts_are_per_thread(library: abi.Library, model: Any) -> None:
    from threading import Thread

    library.tokenizer_open(b"/no/such/file/here", ctypes.byref(ctypes.c_void_p()))
    seen: list[str] = []
    other = Thread(target=lambda: seen.append(library.error()))
    other.start()
    other.join()
    assert seen == [""], f"a fresh thread sees {seen}"
    assert "/no/such/file/here" in library.error()


def failed_calls_keep_the_engine_usable(library: abi.Library, model: Any) -> None:
    engine = library.create_engine(model)
    bad, request = library.text_request(b"x", temperature=-1), ctypes.c_uint64()
    for _ in range(1000):
        assert library.submit(engine, ctypes.byref(bad), ctypes.byref(request)) < 0
    library.submit_options(engine, library.text_request(b"x", max_tokens=1))
    assert library.run_until_idle(engine)[-1]["error"] == 0
    library.engine_destroy(engine)


def wrong_tokens(library: abi.Library, tokenizer: Any) -> None:
    buffer, size = ctypes.create_string_buffer(64), ctypes.c_size_t(7)
    for token in (-1, VOCABULARY, 2**31 - 1, -(2**31)):
        array = (ctypes.c_int32 * 2)(5, token)
        status = library.tokenizer_decode(tokenizer, array, 2, 0, buffer, 64, ctypes.byref(size))
        children.expect(library, status, "INVALID_ARGUMENT", names=["tokens", str(token)])
        status = library.tokenizer_token_text(tokenizer, token, buffer, 64, ctypes.byref(size))
        children.expect(library, status, "INVALID_ARGUMENT", names=["token", str(token)])
        assert size.value == 0


def wrong_text(library: abi.Library, tokenizer: Any) -> None:
    tokens, count = (ctypes.c_int32 * 64)(), ctypes.c_size_t(7)
    for text in (b"\xff", b"a\xc3", b"\xed\xa0\x80"):
        status = library.tokenizer_encode(tokenizer, text, len(text), 0, tokens, 64, ctypes.byref(count))
        children.expect(library, status, "INVALID_ARGUMENT", names=["text", "UTF-8"])
        assert count.value == 0
    library.ok(library.tokenizer_encode(tokenizer, b"", 0, 0, tokens, 64, ctypes.byref(count)))
    assert count.value == 0
    library.ok(library.tokenizer_encode(tokenizer, b"\0\0", 2, 0, tokens, 64, ctypes.byref(count)))
    assert count.value > 0, "NUL is a character like any other"


def wrong_flags(library: abi.Library, tokenizer: Any) -> None:
    """A flag that means nothing is an error, so that it can mean something later."""
    tokens, text, size = (ctypes.c_int32 * 64)(5), ctypes.create_string_buffer(64), ctypes.c_size_t()
    messages = (library.types.structs["ftk_chat_message"] * 1)(
        library.new("ftk_chat_message", role=b"user", content=b"x")
    )
    decoder = ctypes.c_void_p(1)
    out = ctypes.byref(size)
    for flags in (4, 2**31, 2**32 - 1):
        chat = (tokenizer, b"chatml", messages, 1, flags)
        for status in (
            library.tokenizer_encode(tokenizer, b"x", 1, flags, tokens, 64, out),
            library.tokenizer_decode(tokenizer, tokens, 1, flags, text, 64, out),
            library.tokenizer_apply_chat_template(*chat, text, 64, out),
            library.tokenizer_encode_chat(*chat, tokens, 64, out),
            library.decoder_create(tokenizer, flags, ctypes.byref(decoder)),
        ):
            children.expect(library, status, "INVALID_ARGUMENT", names="flags")


def truncation(library: abi.Library, tokenizer: Any) -> None:
    """The rule of snprintf, at every capacity."""
    text = b"def main():\n    return 1\n"
    count = ctypes.c_size_t()
    truncated = library.constants["FTK_TRUNCATED"]
    assert library.tokenizer_encode(tokenizer, text, len(text), 0, None, 0, ctypes.byref(count)) == truncated
    needed = count.value
    full = (ctypes.c_int32 * needed)()
    library.ok(library.tokenizer_encode(tokenizer, text, len(text), 0, full, needed, ctypes.byref(count)))
    for capacity in range(needed):
        part = (ctypes.c_int32 * (capacity + 1))(*[-7] * (capacity + 1))
        status = library.tokenizer_encode(tokenizer, text, len(text), 0, part, capacity, ctypes.byref(count))
        assert (status, count.value) == (truncated, needed)
        assert part[:capacity] == full[:capacity] and part[capacity] == -7
    for capacity in range(len(text) + 3):
        buffer = ctypes.create_string_buffer(b"\x7f" * (capacity + 2), capacity + 2)
        status = library.tokenizer_decode(tokenizer, full, needed, 0, buffer, capacity, ctypes.byref(count))
        assert count.value == len(text)
        assert status == (0 if capacity >= len(text) else truncated) or capacity == len(text), (status, capacity)
        assert buffer.raw[capacity:] == b"\x7f\x7f", "written behind the buffer"
        if capacity > len(text):
            assert buffer.raw[: len(text) + 1] == text + b"\0"


def decoder_misuse(library: abi.Library, tokenizer: Any) -> None:
    decoder, buffer, size = ctypes.c_void_p(), ctypes.create_string_buffer(64), ctypes.c_size_t()
    library.ok(library.decoder_create(tokenizer, 0, ctypes.byref(decoder)))
    for token in (-1, VOCABULARY):
        status = library.decoder_push(decoder, token, buffer, 64, ctypes.byref(size))
        children.expect(library, status, "INVALID_ARGUMENT", names="token")
    tokens, count = (ctypes.c_int32 * 64)(), ctypes.c_size_t()
    text = "é🙂 ".encode() * 3
    library.ok(library.tokenizer_encode(tokenizer, text, len(text), 0, tokens, 64, ctypes.byref(count)))
    streamed = b""
    for token in tokens[: count.value]:
        status = library.decoder_push(decoder, token, None, 0, ctypes.byref(size))
        if status == library.constants["FTK_TRUNCATED"]:  # not consumed
            library.ok(library.decoder_push(decoder, token, buffer, 64, ctypes.byref(size)))
            streamed += buffer.raw[: size.value]
        else:
            assert (status, size.value) == (0, 0)
    assert streamed == text
    library.ok(library.decoder_push(decoder, tokens[0], buffer, 64, ctypes.byref(size)))
    library.ok(library.decoder_finish(decoder, buffer, 64, ctypes.byref(size)))
    library.ok(library.decoder_finish(decoder, buffer, 64, ctypes.byref(size)))
    assert size.value == 0, "finish did not start afresh"
    library.decoder_destroy(decoder)
