"""Every declared function is called at least once with success; a new one without a call here fails."""

from __future__ import annotations

import ctypes
import json
import unittest
from typing import Any

import abi
import controller_scene
import support


def model_calls(library: abi.Library) -> ctypes.c_void_p:
    progress: list[tuple[int, int]] = []
    options = library.defaults("ftk_model_options", threads=1)
    callback = library.types.of("ftk_progress_callback")(lambda done, total, _: progress.append((done, total)) or 0)
    options.progress = callback
    model = ctypes.c_void_p()
    library.ok(library.model_open(support.TARGET.encode(), ctypes.byref(options), ctypes.byref(model)))
    assert progress and progress[-1][0] <= progress[-1][1], progress
    info = library.new("ftk_model_info")
    library.ok(library.model_get_info(model, ctypes.byref(info)))
    assert (info.architecture, info.layers, info.vocabulary_size) == (b"llama", 6, 4096), info.architecture
    draft = ctypes.c_void_p()
    library.ok(library.model_make_draft(model, ctypes.byref(options), ctypes.byref(draft)))
    assert progress[-1][0] == progress[-1][1] > 0, progress
    library.model_release(draft)
    library.ok(library.model_retain(model))
    library.model_release(model)
    return model


def two_pass(call: Any, element: Any) -> Any:
    """Asks for the size with a NULL buffer, then for the contents."""
    needed = ctypes.c_size_t()
    status = call(None, 0, ctypes.byref(needed))
    assert status in (0, 2), status
    buffer = (element * (needed.value + 1))()
    assert call(buffer, needed.value + 1, ctypes.byref(needed)) == 0
    return buffer[: needed.value]


def tokenizer_calls(library: abi.Library, model: ctypes.c_void_p) -> None:
    own = library.tokenizer_of(model)
    library.tokenizer_release(own)
    tokenizer = ctypes.c_void_p()
    library.ok(library.tokenizer_open(support.TARGET.encode(), ctypes.byref(tokenizer)))
    library.ok(library.tokenizer_retain(tokenizer))
    library.tokenizer_release(tokenizer)
    info = library.new("ftk_tokenizer_info")
    library.ok(library.tokenizer_get_info(tokenizer, ctypes.byref(info)))
    assert (info.vocabulary_size, info.bos_token, info.adds_bos) == (4096, 0, 1)

    text = "def naïve(x):\n    return '日本 🙂'\n".encode()
    tokens = two_pass(lambda *out: library.tokenizer_encode(tokenizer, text, len(text), 0, *out), ctypes.c_int32)
    array = (ctypes.c_int32 * len(tokens))(*tokens)
    back = two_pass(lambda *out: library.tokenizer_decode(tokenizer, array, len(tokens), 0, *out), ctypes.c_char)
    assert back == text, back
    assert two_pass(lambda *out: library.tokenizer_token_text(tokenizer, 0, *out), ctypes.c_char) == b"<|endoftext|>"
    decoder_calls(library, tokenizer, tokens, text)
    chat_calls(library, tokenizer)
    library.tokenizer_release(tokenizer)


def decoder_calls(library: abi.Library, tokenizer: ctypes.c_void_p, tokens: list[int], text: bytes) -> None:
    decoder = ctypes.c_void_p()
    library.ok(library.decoder_create(tokenizer, 0, ctypes.byref(decoder)))
    buffer, size = ctypes.create_string_buffer(64), ctypes.c_size_t()
    streamed = b""
    for token in tokens:
        library.ok(library.decoder_push(decoder, token, buffer, 64, ctypes.byref(size)))
        piece = buffer.raw[: size.value]
        piece.decode("utf-8")  # never a split code point
        streamed += piece
    library.ok(library.decoder_finish(decoder, buffer, 64, ctypes.byref(size)))
    assert streamed + buffer.raw[: size.value] == text
    library.decoder_destroy(decoder)


def chat_calls(library: abi.Library, tokenizer: ctypes.c_void_p) -> None:
    messages = (library.types.structs["ftk_chat_message"] * 1)(
        library.new("ftk_chat_message", role=b"user", content=b"Hi")
    )
    flags = library.constants["FTK_CHAT_ADD_GENERATION_PROMPT"]
    text = two_pass(
        lambda *out: library.tokenizer_apply_chat_template(tokenizer, b"chatml", messages, 1, flags, *out),
        ctypes.c_char,
    )
    assert text == b"<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", text
    tokens = two_pass(
        lambda *out: library.tokenizer_encode_chat(tokenizer, b"chatml", messages, 1, flags, *out), ctypes.c_int32
    )
    assert tokens


def engine_calls(library: abi.Library, model: ctypes.c_void_p) -> None:
    plan = library.new("ftk_memory_plan")
    options = library.defaults("ftk_engine_options", threads=1)
    library.ok(
        library.memory_plan_compute(
            support.TARGET.encode(), support.DRAFT.encode(), ctypes.byref(options), ctypes.byref(plan)
        )
    )
    assert plan.peak_bytes > plan.target_weights_bytes > plan.draft_weights_bytes > 0
    own, self_draft = library.new("ftk_memory_plan"), library.header.texts["FTK_SELF_DRAFT"].encode()
    library.ok(library.memory_plan_compute(support.TARGET.encode(), self_draft, ctypes.byref(options), ctypes.byref(own)))
    assert plan.target_weights_bytes > own.draft_weights_bytes > plan.draft_weights_bytes
    assert own.kv_bytes_per_token > plan.kv_bytes_per_token

    checks: list[tuple[bytes, int]] = []
    callback = library.types.of("ftk_selftest_callback")(lambda name, passed, *_: checks.append((name, passed)) or 0)
    library.ok(library.selftest(model, None, callback, None))
    assert len(checks) > 4 and all(passed for _, passed in checks), checks

    engine = library.create_engine(model, threads=1)
    descriptor = ctypes.c_int32(-1)
    library.ok(library.engine_event_fd(engine, ctypes.byref(descriptor)))
    assert descriptor.value >= 0
    library.submit_options(engine, library.text_request(b"def main():", max_tokens=4))
    cancelled = library.submit_options(engine, library.text_request(b"class A:", max_tokens=400))
    library.ok(library.request_draft(engine, cancelled, 0, (ctypes.c_int32 * 2)(5, 6), 2))
    library.ok(library.cancel(engine, cancelled))
    events = library.run_until_idle(engine)
    reasons = {event["request"]: event["finish_reason"] for event in events if event["kind"] == 3}
    assert reasons[cancelled] == library.constants["FTK_FINISH_CANCELLED"], reasons
    stats = library.new("ftk_engine_stats")
    library.ok(library.engine_get_stats(engine, ctypes.byref(stats)))
    assert (stats.submitted_requests, stats.finished_requests) == (2, 2)
    library.engine_destroy(engine)
    observation_calls(library, model)


def observation_calls(library: abi.Library, model: ctypes.c_void_p) -> None:
    engine = library.create_engine(model, threads=1, trace=1)
    library.submit_options(engine, library.text_request(b"def main():", max_tokens=4))
    library.run_until_idle(engine)
    text = two_pass(lambda *out: library.engine_metrics(engine, *out), ctypes.c_char).decode()
    assert "foretoken_generation_tokens_total 4\n" in text, text
    lines = two_pass(lambda *out: library.engine_trace(engine, *out), ctypes.c_char).decode().splitlines()
    steps = [json.loads(line) for line in lines]
    assert sum(request["emitted"] for step in steps for request in step["requests"]) == 4, steps
    assert two_pass(lambda *out: library.engine_trace(engine, *out), ctypes.c_char) == b"", "read twice"
    library.engine_destroy(engine)


def controller_calls(library: abi.Library) -> None:
    scene = controller_scene.Scene(library, policy=library.constants["FTK_POLICY_STATIC"], max_draft_tokens=3)
    for share in (0, 1):
        wishes = scene.begin(2)
        assert [(wish.source, wish.length) for wish in wishes] == [(3, 3), (3, 3)]
        assert scene.extend([1, 1]) == [1, 1]
        assert scene.extend([3, 3]) == [0, 0]
        assert scene.select([3, 3]) == [3, 3]
        scene.commit([(3, 3 * share)] * 2)
    scene.begin(1)
    library.ok(library.controller_abandon(scene.controller))
    library.ok(library.controller_forget(scene.controller, 1))
    time = ctypes.c_double()
    library.ok(library.controller_predict(scene.controller, 0, 4, 0, 0, ctypes.byref(time)))
    assert time.value > 0
    library.controller_destroy(scene.controller)


class CallTests(unittest.TestCase):
    def test_every_function_succeeds_once(self) -> None:
        library = support.library()
        assert library.abi_version() == library.constants["FTK_ABI_VERSION"]
        assert library.version_string() and library.status_string(0) == b"FTK_OK"
        assert library.last_error() is not None
        model = model_calls(library)
        tokenizer_calls(library, model)
        engine_calls(library, model)
        library.model_release(model)
        controller_calls(library)
        self.assertEqual(sorted(set(library.header.functions) - library.succeeded), [], "declared, but not called here")

    def test_releasing_nothing_is_allowed(self) -> None:
        library = support.library()
        for name in ("model_release", "tokenizer_release", "decoder_destroy", "engine_destroy", "event_batch_free", "controller_destroy"):
            self.assertIsNone(getattr(library, name)(None))
        self.assertEqual(library.event_batch_count(None), 0)

    def test_models_outlive_their_last_owner_while_an_engine_uses_them(self) -> None:
        library = support.library()
        model, draft = library.open_model(support.TARGET), library.open_model(support.DRAFT)
        engine = library.create_engine(
            model,
            policy=library.constants["FTK_POLICY_STATIC"],
            drafter=library.constants["FTK_DRAFTER_MODEL"],
            draft_model=draft,
        )
        library.model_release(model)
        library.model_release(draft)
        library.submit_options(engine, library.text_request(b"import os\n", max_tokens=8))
        self.assertEqual(library.run_until_idle(engine)[-1]["finish_reason"], library.constants["FTK_FINISH_LENGTH"])
        library.engine_destroy(engine)

    def test_batches_outlive_their_engine(self) -> None:
        library = support.library()
        model = library.open_model(support.DRAFT)
        engine = library.create_engine(model)
        library.submit_options(engine, library.text_request(b"import os\n", max_tokens=1))
        while library.ok(library.engine_step(engine)) == 0:
            pass
        batch, event = ctypes.c_void_p(), library.new("ftk_event")
        library.ok(library.poll(engine, 0, ctypes.byref(batch)))
        library.engine_destroy(engine)
        library.model_release(model)
        for index in range(library.event_batch_count(batch)):
            event.struct_size = ctypes.sizeof(event)
            library.ok(library.event_batch_at(batch, index, ctypes.byref(event)))
            self.assertIsNotNone(event.text)
        self.assertEqual(event.kind, library.constants["FTK_EVENT_FINISH"])
        self.assertEqual(event.stats.contents.completion_tokens, 1)
        library.event_batch_free(batch)


if __name__ == "__main__":
    unittest.main()
