"""Weights that are no numbers, and drafts that do not speak the target's language."""

from __future__ import annotations

import ctypes
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import abi
import children
import gguf
import support
from cases_gguf import changed
from exercise import use_model

HALF = {"NaN": 0x7E00, "infinity": 0x7C00, "minus infinity": 0xFC00}
SINGLE = {"NaN": float("nan"), "infinity": float("inf"), "3e38": 3e38, "a denormal": 1e-44}


def cases(library: abi.Library) -> Iterator[children.Case]:
    with tempfile.TemporaryDirectory(prefix="foretoken-weights-") as folder:
        path = Path(folder) / "weights.gguf"
        file, _ = gguf.read(support.DRAFT)
        for name, data in _poisoned(file):
            yield name, _poisoned_target(library, path, data, must_fail="NaN" in name)
            yield f"a draft model with {name}", _poisoned_draft(library, path, data)
        yield "a draft of another family", lambda: _other_family(library)
        for token in (1, 1234, 4094):
            yield f"a draft with another token {token}", _other_token(library, path, file, token)
        yield "a draft that is the target", lambda: _same_model(library)


def _poisoned(file: gguf.File) -> Iterator[tuple[str, Callable[[], bytes]]]:
    def fill(name: str, data: bytes) -> Callable[[], bytes]:
        return lambda: changed(file, lambda f: setattr(f.tensor(name), "data", data))

    for title, value in SINGLE.items():
        norm = file.tensor("output_norm.weight")
        yield f"{title} in output_norm", fill(norm.name, struct.pack("<f", value) * norm.dimensions[0])
    for title, bits in HALF.items():
        for name in ("token_embd.weight", "blk.0.attn_k.weight", "blk.1.attn_v.weight", "blk.2.ffn_down.weight"):
            data = bytearray(file.tensor(name).data)
            for block in range(0, len(data), 34):
                struct.pack_into("<H", data, block, bits)
            yield f"{title} in {name}", fill(name, bytes(data))
    one = bytearray(file.tensor("blk.0.attn_norm.weight").data)
    struct.pack_into("<f", one, 4, float("nan"))
    yield "one NaN in blk.0.attn_norm", fill("blk.0.attn_norm.weight", bytes(one))


def _poisoned_target(
    library: abi.Library, path: Path, make: Callable[[], bytes], must_fail: bool
) -> Callable[[], None]:
    def run() -> None:
        path.write_bytes(make())
        model = library.open_model(str(path))
        constants = library.constants
        for policy in (constants["FTK_POLICY_OFF"], constants["FTK_POLICY_STATIC"]):
            last = use_model(library, model, policy=policy)
            if must_fail:
                assert last["finish_reason"] == constants["FTK_FINISH_ERROR"], last
            if last["finish_reason"] == constants["FTK_FINISH_ERROR"]:
                assert last["error"] < 0 and len(last["error_text"]) >= 10, last
        library.model_release(model)

    return run


def generated(library: abi.Library, target: Any, **options: Any) -> tuple[list[int], int]:
    """(tokens, finish reason) of one greedy request."""
    engine = library.create_engine(target, threads=1, **options)
    library.submit_options(engine, library.text_request(b"import os\n", max_tokens=12, temperature=0))
    events = library.run_until_idle(engine)
    library.engine_destroy(engine)
    tokens = [
        token for event in events if event["kind"] == library.constants["FTK_EVENT_TOKENS"] for token in event["tokens"]
    ]
    return tokens, events[-1]["finish_reason"]


def _poisoned_draft(library: abi.Library, path: Path, make: Callable[[], bytes]) -> Callable[[], None]:
    """A draft model that fails may cost its request, but not change its text."""

    def run() -> None:
        path.write_bytes(make())
        target, draft = library.open_model(support.TARGET), library.open_model(str(path))
        plain, _ = generated(library, target)
        constants = library.constants
        options = {"policy": constants["FTK_POLICY_STATIC"], "drafter": constants["FTK_DRAFTER_MODEL"]}
        tokens, reason = generated(library, target, draft_model=draft, **options)
        if reason == constants["FTK_FINISH_ERROR"]:
            assert tokens == plain[: len(tokens)]
        else:
            assert tokens == plain
        library.model_release(draft)
        library.model_release(target)

    return run


def _mismatch(library: abi.Library, draft_path: str, names: tuple[str, ...]) -> None:
    target, draft, engine = library.open_model(support.TARGET), library.open_model(draft_path), ctypes.c_void_p(1)
    options = library.defaults("ftk_engine_options", policy=1, draft_model=draft)
    status = library.engine_create(target, ctypes.byref(options), ctypes.byref(engine))
    children.expect(library, status, "VOCABULARY_MISMATCH", names=names)
    assert engine.value is None
    library.model_release(draft)
    library.model_release(target)


def _other_family(library: abi.Library) -> None:
    try:
        path = support.shared_data("models/stories260k/stories260K-f32.gguf")
    except support.unittest.SkipTest:
        return
    _mismatch(library, path, ("113 of the target's 3839 tokens", "(2.9%)", "at least 5.0%"))


def _other_token(library: abi.Library, path: Path, file: gguf.File, token: int) -> Callable[[], None]:
    """The texts of a token and of the next one change places: a draft with another vocabulary, and the same text."""
    texts = file.metadata["tokenizer.ggml.tokens"].value

    def swap(changed_file: gguf.File) -> None:
        swapped = [*texts[:token], texts[token + 1], texts[token], *texts[token + 2 :]]
        changed_file.metadata["tokenizer.ggml.tokens"].value = swapped

    def run() -> None:
        path.write_bytes(changed(file, swap))
        target, draft = library.open_model(support.TARGET), library.open_model(str(path))
        constants = library.constants
        options = {"policy": constants["FTK_POLICY_STATIC"], "drafter": constants["FTK_DRAFTER_MODEL"]}
        assert generated(library, target, draft_model=draft, **options) == generated(library, target)
        library.model_release(draft)
        library.model_release(target)

    return run


def _same_model(library: abi.Library) -> None:
    target = library.open_model(support.TARGET)
    constants = library.constants
    plain = generated(library, target)
    options = {"policy": constants["FTK_POLICY_STATIC"], "drafter": constants["FTK_DRAFTER_MODEL"]}
    assert generated(library, target, draft_model=target, **options) == plain
    library.model_release(target)
