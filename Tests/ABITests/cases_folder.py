"""Paths that hold no model, and Hugging Face folders that lie (made from shared test data where it is there)."""

from __future__ import annotations

import ctypes
import json
import os
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import abi
import children
import support
from exercise import open_all

REFUSAL = (
    "CORRUPT_FILE",
    "UNSUPPORTED_FORMAT",
    "UNSUPPORTED_ARCHITECTURE",
    "UNSUPPORTED_QUANTIZATION",
    "OUT_OF_MEMORY",
    "IO",
)
ANYTHING = (*REFUSAL, "FTK_OK")
CORRUPT = ("CORRUPT_FILE",)


def cases(library: abi.Library) -> Iterator[children.Case]:
    with tempfile.TemporaryDirectory(prefix="foretoken-folder-") as name:
        folder = Path(name)
        yield from _paths(library, folder)
        try:
            source = Path(support.shared_data("models/pair/draft"))
        except support.unittest.SkipTest:
            return
        changes = [*_config_changes(source), *_weights_changes(source), *_tokenizer_changes(source)]
        for index, (title, file, data, wanted, names) in enumerate(changes):
            yield title, _folder_case(library, folder / str(index), source, (file, data), wanted, names)


def _paths(library: abi.Library, folder: Path) -> Iterator[children.Case]:
    (folder / "nothing").mkdir()
    (folder / "loop").symlink_to(folder / "loop")
    os.mkfifo(folder / "pipe")
    paths = {
        "a missing file": (str(folder / "missing.gguf"), ("IO",)),
        "a file in a file": (support.DRAFT + "/model.gguf", ("IO",)),
        "an empty path": ("", ("IO", "INVALID_ARGUMENT")),
        "a path that is too long": ("x" * 100000, ("IO",)),
        "a link to itself": (str(folder / "loop"), ("IO",)),
        "a folder without config.json": (str(folder / "nothing"), ("IO", "CORRUPT_FILE", "UNSUPPORTED_FORMAT")),
        "a pipe that nobody writes": (str(folder / "pipe"), ("IO", "CORRUPT_FILE", "UNSUPPORTED_FORMAT")),
        "a device without end": ("/dev/zero", ("IO", "CORRUPT_FILE", "UNSUPPORTED_FORMAT")),
    }
    for name, (path, wanted) in paths.items():
        named = ("config.json",) if "config.json" in name else ()
        yield name, lambda p=path, w=wanted, n=named: open_all(library, p, w, n)
    yield "paths that are no UTF-8", lambda: _bad_bytes(library)
    yield "a missing draft in a memory plan", lambda: _missing_draft(library)


def _bad_bytes(library: abi.Library) -> None:
    model = ctypes.c_void_p()
    children.expect(library, library.model_open(b"/\xff\xfe", None, ctypes.byref(model)), "IO", "INVALID_ARGUMENT")


def _missing_draft(library: abi.Library) -> None:
    plan = library.new("ftk_memory_plan")
    status = library.memory_plan_compute(support.DRAFT.encode(), b"/no/draft", None, ctypes.byref(plan))
    children.expect(library, status, "IO", names="/no/draft")


def _folder_case(
    library: abi.Library,
    folder: Path,
    source: Path,
    change: tuple[str, bytes | None],
    wanted: tuple[str, ...],
    names: Any,
) -> Callable[[], None]:
    def run() -> None:
        folder.mkdir()
        changed, data = change
        for file in source.iterdir():
            if file.name != changed:
                (folder / file.name).symlink_to(file.resolve())
            elif data is not None:
                (folder / changed).write_bytes(data)
        open_all(library, str(folder), wanted, names)

    return run


Change = tuple[str, str, "bytes | None", tuple[str, ...], tuple[str, ...]]


def _broken_json(file: str, text: bytes) -> Iterator[Change]:
    """What can be wrong with any JSON file."""
    broken = {
        "missing": None,
        "empty": b"",
        "not JSON": b"hello",
        "invalid UTF-8": b'{"a": "\xff"}',
        "an array": b"[]",
        "nested without end": b"[" * 200000,
        "nested objects": b'{"a":' * 200000,
        "followed by more": text + b"}",
        "a huge number": b'{"vocab_size": 1e999999999, "version": ' + b"9" * 100000 + b"}",
        "a lone surrogate": b'{"model_type": "\\ud800"}',
    }
    for cut in range(1, 10):
        broken[f"cut at {cut}0%"] = text[: len(text) * cut // 10]
    for name, data in broken.items():
        yield f"{file} {name}", file, data, REFUSAL, (file,)


def _config_changes(source: Path) -> Iterator[Change]:
    text = (source / "config.json").read_bytes()
    yield from _broken_json("config.json", text)
    config = json.loads(text)

    def changed(key: str, value: Any, wanted: tuple[str, ...], *names: str) -> Change:
        data = json.dumps({**config, key: value}).encode()
        return f"{key} = {value!r}", "config.json", data, wanted, names

    yield "unchanged folder", "config.json", text, ("FTK_OK",), ()
    yield changed("model_type", "oracle", ("UNSUPPORTED_ARCHITECTURE",), "oracle")
    yield changed("model_type", 7, REFUSAL)
    for key in ("hidden_size", "num_attention_heads", "num_hidden_layers", "intermediate_size", "vocab_size"):
        for value in (0, -1, 1.5, 2**31, 2**63, 2**80, 1e300, "many", None, [], True):
            yield changed(key, value, REFUSAL, *(() if value in (0, 2**31) else (key,)))
    for key in ("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps"):
        for value in (0, -1, 5, 2**31, 2**63, 1e300, "many", []):
            yield changed(key, value, ANYTHING)
    for value in ({"rope_type": "oracle"}, {"rope_theta": -1}, {"rope_theta": "x"}, [], {"rope_theta": 0}):
        yield changed("rope_parameters", value, ANYTHING)
    yield changed("tie_word_embeddings", False, CORRUPT)
    yield changed("hidden_act", "oracle", REFUSAL, "oracle")
    yield changed("quantization_config", {"quant_method": "oracle"}, ANYTHING)


def _weights_changes(source: Path) -> Iterator[Change]:
    data = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack_from("<Q", data, 0)
    header, payload = json.loads(data[8 : 8 + length]), data[8 + length :]
    file, name = "model.safetensors", "model.layers.1.mlp.up_proj.weight"

    def made(title: str, header: Any, wanted: tuple[str, ...], *names: str) -> Change:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        return title, file, struct.pack("<Q", len(text)) + text + payload, wanted, names

    def tensor(**values: Any) -> dict[str, Any]:
        return {**header, name: {**header[name], **values}}

    yield "no weights", file, None, ("IO", "CORRUPT_FILE"), ("safetensors",)
    for size in (0, 7, 8, 9, length, length + 7, length + 8, len(data) // 2, len(data) - 1):
        yield f"safetensors cut to {size}", file, data[:size], CORRUPT, (file,)
    for claimed in (0, 1, 2**31, 2**40, 2**63 - 1, 2**63, 2**64 - 1):
        yield f"safetensors header of {claimed} bytes", file, struct.pack("<Q", claimed) + data[8:], CORRUPT, (file,)
    yield made("a header nested without end", b"[" * 200000, CORRUPT)
    yield made("a header that is no object", b"[]", CORRUPT)
    start, end = header[name]["data_offsets"]
    for offsets in (
        [end, start],
        [start, end + 4],
        [start, end - 4],
        [-4, end],
        [start, 2**63],
        [2**63, 2**63 + 4],
        [],
        "x",
        None,
        [0.5, 1],
    ):
        yield made(f"data_offsets {offsets}", tensor(data_offsets=offsets), CORRUPT, name)
    for shape in ([512], [192, 512], [2**32, 2**32], [0, 192], [-512, 192], [512, 192, 1, 1, 1], "x", [2**63], [1.5]):
        yield made(f"shape {shape}", tensor(shape=shape), CORRUPT)
    for dtype in ("I8", "F64", "oracle", 7, None):
        yield made(f"dtype {dtype}", tensor(dtype=dtype), REFUSAL, name)
    missing = {key: value for key, value in header.items() if key != name}
    yield made("a missing tensor", missing, CORRUPT, "blk.1.ffn_up.weight")  # as GGUF calls it


def _tokenizer_changes(source: Path) -> Iterator[Change]:
    text = (source / "tokenizer.json").read_bytes()
    yield from _broken_json("tokenizer.json", text)
    tokenizer = json.loads(text)

    def model(title: str, wanted: tuple[str, ...] = REFUSAL, **values: Any) -> Change:
        data = json.dumps({**tokenizer, "model": {**tokenizer["model"], **values}}).encode()
        return title, "tokenizer.json", data, wanted, ()

    vocabulary, merges = tokenizer["model"]["vocab"], tokenizer["model"]["merges"]
    some = next(key for key, value in vocabulary.items() if value == 300)
    yield model("a Unigram tokenizer", type="Unigram")
    yield model("an unknown tokenizer", type="oracle")
    yield model("no vocabulary", vocab={})
    yield model("a vocabulary that is a list", vocab=[])
    for number in (-1, 2**31, 2**63, 1.5, "x", None):
        yield model(f"a token with the id {number!r}", vocab={**vocabulary, some: number})
    yield model("two tokens with one id", ANYTHING, vocab={**vocabulary, some: 301})
    yield model("a hole in the vocabulary", ANYTHING, vocab={k: v for k, v in vocabulary.items() if k != some})
    yield model("merges that are no list", merges={})
    for merge in ("alone", "", 7, None, ["a"], ["a", "b", "c"], ["a", 7]):
        yield model(f"a merge {merge!r}", merges=[merge, *merges])
    for value in ("oracle", {"type": "oracle"}, [], 7):
        data = json.dumps({**tokenizer, "pre_tokenizer": value}).encode()
        yield f"a pre_tokenizer {value!r}", "tokenizer.json", data, REFUSAL, ()
        data = json.dumps({**tokenizer, "normalizer": value}).encode()
        yield f"a normalizer {value!r}", "tokenizer.json", data, REFUSAL, ()
    for added in ([{"id": -1, "content": "x"}], [{"id": 2**40, "content": "x"}], [{"content": "x"}], [7], "x"):
        data = json.dumps({**tokenizer, "added_tokens": added}).encode()
        yield f"added_tokens {added!r}", "tokenizer.json", data, REFUSAL, ()
