"""GGUF files that are cut, lie about themselves, or hold what no model has; made from the bundled draft."""

from __future__ import annotations

import copy
import random
import struct
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import abi
import children
import gguf
import support
from exercise import Opener

HUGE = (2**63, 2**64 - 1, 2**62, 2**40, 2**32)
CUTS = 200


def cases(library: abi.Library) -> Iterator[children.Case]:
    with tempfile.TemporaryDirectory(prefix="foretoken-gguf-") as folder:
        opener = Opener(library, Path(folder) / "case.gguf")
        whole = Path(support.DRAFT).read_bytes()
        file, boundaries = gguf.read(support.DRAFT)
        for name, data, wanted in _bytes(whole, boundaries):
            yield name, opener.case(partial(bytes, data), wanted)
        for name, offset, what in _lengths(whole, boundaries):
            for value in HUGE:
                yield f"{name}: {what} = {value}", opener.case(partial(patch, whole, offset, value), ("CORRUPT_FILE",))
        for name, change, wanted, names in _changes(file):
            yield name, opener.case(partial(changed, file, change), wanted, names)


def patch(data: bytes, offset: int, value: int) -> bytes:
    return data[:offset] + struct.pack("<Q", value) + data[offset + 8 :]


def changed(file: gguf.File, change: Callable[[gguf.File], None]) -> bytes:
    other = copy.copy(file)
    other.metadata = {key: copy.copy(value) for key, value in file.metadata.items()}
    other.tensors = [copy.copy(tensor) for tensor in file.tensors]
    change(other)
    return gguf.write(other)


def put(key: str, value: gguf.Value) -> Callable[[gguf.File], None]:
    """The change that sets a metadata entry."""
    return lambda file: file.metadata.update({key: value})


def _bytes(whole: bytes, boundaries: list[int]) -> Iterator[tuple[str, bytes, tuple[str, ...]]]:
    corrupt = ("CORRUPT_FILE",)
    yield "an empty file", b"", corrupt
    yield "10 bytes", whole[:10], corrupt
    yield "10 bytes of something else", b"0123456789", corrupt
    yield "a text file", b"What is not in the header is private.\n" * 1000, corrupt
    yield "zeros", bytes(100000), corrupt
    yield "noise behind the magic", b"GGUF\x03\0\0\0" + random.Random(1).randbytes(100000), corrupt
    for version in (0, 1, 4, 2**32 - 1, 0x03000000):
        data = whole[:4] + struct.pack("<I", version) + whole[8:]
        yield f"version {version}", data, ("UNSUPPORTED_FORMAT", "CORRUPT_FILE")
    size = boundaries[-1]
    cuts = {boundary for boundary in boundaries if boundary < size}
    cuts |= {boundary + delta for boundary in boundaries for delta in (-1, 1) if boundary + delta < size}
    generator = random.Random(2)
    header = next(boundary for boundary in boundaries if boundary > size // 20)
    cuts |= {generator.randrange(header) for _ in range(CUTS // 2)}
    cuts |= {generator.randrange(size) for _ in range(CUTS // 2)}
    for cut in sorted(cuts):
        yield f"cut to {cut} of {size} bytes", whole[:cut], corrupt


def _lengths(whole: bytes, boundaries: list[int]) -> Iterator[tuple[str, int, str]]:
    """(where, offset, what) of every 64-bit count and length in the header."""
    yield "header", 8, "tensors"
    yield "header", 16, "metadata entries"
    tensors, entries = struct.unpack_from("<QQ", whole, 8)
    starts = boundaries[3 : 3 + entries + tensors]
    for index, start in enumerate(starts):
        (length,) = struct.unpack_from("<Q", whole, start)
        name = whole[start + 8 : start + 8 + length].decode()
        behind = start + 8 + length
        yield name, start, "length of the name"
        if index >= entries:
            (rank,) = struct.unpack_from("<I", whole, behind)
            for axis in range(rank):
                yield name, behind + 4 + 8 * axis, f"dimension {axis}"
            yield name, behind + 4 + 8 * rank + 4, "offset"
            continue
        kind, element = struct.unpack_from("<II", whole, behind)
        if kind == gguf.STRING:
            yield name, behind + 4, "length of the text"
        elif kind == gguf.ARRAY:
            yield name, behind + 8, "length of the array"
            if element == gguf.STRING:
                yield name, behind + 16, "length of the first text"


Change = tuple[str, Callable[[gguf.File], None], tuple[str, ...], tuple[str, ...]]
CORRUPT = ("CORRUPT_FILE",)
ANY_REFUSAL = (
    "CORRUPT_FILE",
    "UNSUPPORTED_FORMAT",
    "UNSUPPORTED_ARCHITECTURE",
    "UNSUPPORTED_QUANTIZATION",
    "OUT_OF_MEMORY",
)
ANYTHING = (*ANY_REFUSAL, "FTK_OK")


def _changes(file: gguf.File) -> Iterator[Change]:
    yield "unchanged", lambda f: None, ("FTK_OK",), ()
    yield from _tensor_changes(file)
    yield from _hyperparameter_changes(file)
    yield from _tokenizer_changes()
    yield from _array_changes(file)


def _set(file: gguf.File, which: str, /, **values: object) -> None:
    for key, value in values.items():
        setattr(file.tensor(which), key, value)


def _tensor_changes(file: gguf.File) -> Iterator[Change]:
    name = "blk.1.attn_q.weight"
    named = (name,)
    for dimensions in (
        [2**32, 2**32], [2**63, 2], [2**62, 4], [2**64 - 1], [192, 2**60], [0, 192], [192, 0], [1, 1], [192, 193],
        [192, 191], [96, 384], [31, 192], [192, 192, 2**32, 2**32], [192, 192, 1, 0], [2**31, 2**31, 2, 1],
    ):  # fmt: skip
        yield f"{name} {dimensions}", lambda f, d=dimensions: _set(f, name, dimensions=d), CORRUPT, named
    for rank in (0, 1, 3, 5, 2**31, 2**32 - 1):
        yield f"{name} of rank {rank}", lambda f, r=rank: _set(f, name, rank=r), ANY_REFUSAL, ()
    for offset in (1, 31, 2**20 * 32, 2**63, 2**64 - 32, 2**63 - 32):
        yield f"{name} at offset {offset}", lambda f, o=offset: _set(f, name, offset=o), CORRUPT, named
    quantization = ("UNSUPPORTED_QUANTIZATION",)
    for kind, text in ((16, "IQ2_XXS"), (4, "4"), (99, "99"), (2**32 - 1, str(2**32 - 1))):
        yield f"{name} of type {kind}", lambda f, k=kind: _set(f, name, type=k), quantization, (name, text)
    for missing in ("output_norm.weight", "token_embd.weight", "blk.2.ffn_up.weight", "blk.0.attn_norm.weight"):
        yield f"without {missing}", lambda f, m=missing: f.tensors.remove(f.tensor(m)), CORRUPT, (missing,)
    yield "a tensor twice", lambda f: f.tensors.append(f.tensor(name)), CORRUPT, named
    yield "a tensor without a name", lambda f: _set(f, name, name=""), CORRUPT, ()
    yield "no tensors", lambda f: f.tensors.clear(), CORRUPT, ()
    yield "no metadata", lambda f: f.metadata.clear(), ANY_REFUSAL, ()
    for delta in (-1, 1):
        count = len(file.tensors) + delta
        yield f"{count} tensors", lambda f, c=count: setattr(f, "tensor_count", c), CORRUPT, ()
        count = len(file.metadata) + delta
        yield f"{count} metadata entries", lambda f, c=count: setattr(f, "metadata_count", c), ANY_REFUSAL, ()
    for alignment in (0, 3, 2**31, 2**32 - 1):
        value = gguf.Value(gguf.UINT32, alignment)
        yield f"alignment {alignment}", put("general.alignment", value), CORRUPT, ()


# What a model cannot do without.
REQUIRED = {"embedding_length", "block_count", "feed_forward_length", "attention.head_count"}


def _hyperparameter_changes(file: gguf.File) -> Iterator[Change]:
    for architecture in (b"gpt2", b"mamba", b"", b"\xff\xfe", b"llama" * 1000):
        value = gguf.Value(gguf.STRING, architecture)
        wanted = ("UNSUPPORTED_ARCHITECTURE", *(() if architecture.isalnum() and len(architecture) < 9 else CORRUPT))
        names = (architecture.decode(),) if wanted == ("UNSUPPORTED_ARCHITECTURE",) else ()
        change = put("general.architecture", value)
        yield f"architecture {architecture[:20]!r}", change, wanted, names
    for key in [key for key in file.metadata if key.startswith("llama.")]:
        short = key.removeprefix("llama.")
        wanted = CORRUPT if short in REQUIRED else ANYTHING
        named = (key,) if wanted == CORRUPT else ()
        yield f"without {key}", lambda f, k=key: f.metadata.pop(k), wanted, named
        for value in _wrong_values(file.metadata[key]):
            yield f"{key} = {value.value!r}", put(key, value), ANYTHING, ()
        text = gguf.Value(gguf.STRING, b"many")
        yield f"{key} is text", put(key, text), CORRUPT, (key,)
    for short, number in (
        ("embedding_length", 0), ("embedding_length", 191), ("block_count", 0), ("block_count", 4),
        ("block_count", 2**31 - 1), ("attention.head_count", 0), ("attention.head_count", 5),
        ("attention.head_count_kv", 0), ("attention.head_count_kv", 2), ("feed_forward_length", 0), ("vocab_size", 7),
    ):  # fmt: skip
        value = gguf.Value(gguf.UINT32, number)
        yield f"llama.{short} is {number}", put(f"llama.{short}", value), ANY_REFUSAL, ()


def _wrong_values(value: gguf.Value) -> list[gguf.Value]:
    if value.type == gguf.FLOAT32:
        numbers = (0.0, -1.0, float("nan"), float("inf"), -float("inf"), 1e-40, 3e38)
        return [gguf.Value(gguf.FLOAT32, number) for number in numbers]
    unsigned = [gguf.Value(gguf.UINT32, number) for number in (0, 1, 3, 63, 65, 2**16, 2**31 - 1, 2**31, 2**32 - 1)]
    signed = [gguf.Value(gguf.INT32, -1), gguf.Value(gguf.UINT64, 2**64 - 1), gguf.Value(gguf.FLOAT32, float("nan"))]
    return unsigned + signed


def _tokenizer_changes() -> Iterator[Change]:
    prefix = "tokenizer.ggml."

    def own(key: str, kind: int, value: object) -> Callable[[gguf.File], None]:
        return put(prefix + key, gguf.Value(kind, value))

    def edit(key: str, change: Callable[[list[object]], object]) -> Callable[[gguf.File], None]:
        def apply(f: gguf.File) -> None:
            items = list(f.metadata[prefix + key].value)
            change(items)
            f.metadata[prefix + key].value = items

        return apply

    yield "an unknown tokenizer", own("model", gguf.STRING, b"oracle"), ("UNSUPPORTED_FORMAT",), ("oracle",)
    yield "an unknown splitting", own("pre", gguf.STRING, b"oracle"), ("UNSUPPORTED_FORMAT", "FTK_OK"), ()
    yield "without tokens", lambda f: f.metadata.pop(prefix + "tokens"), CORRUPT, (prefix + "tokens",)
    yield "without merges", lambda f: f.metadata.pop(prefix + "merges"), CORRUPT, (prefix + "merges",)
    yield "without token types", lambda f: f.metadata.pop(prefix + "token_type"), ANYTHING, ()
    yield "one token fewer than embeddings", edit("tokens", list.pop), CORRUPT, ()
    yield "one token more than embeddings", edit("tokens", lambda items: items.append(b"more")), CORRUPT, ()
    yield "no tokens", edit("tokens", list.clear), CORRUPT, ()
    yield "one token type fewer", edit("token_type", list.pop), CORRUPT, ()
    yield "an unknown token type", edit("token_type", lambda items: items.__setitem__(9, 99)), ANYTHING, ()
    yield "a token twice", edit("tokens", lambda items: items.__setitem__(300, items[301])), ANYTHING, ()
    yield "an empty token", edit("tokens", lambda items: items.__setitem__(300, b"")), ANYTHING, ()
    yield "a token of invalid UTF-8", edit("tokens", lambda items: items.__setitem__(300, b"\xff\xfe")), ANYTHING, ()
    yield (
        "a token outside of the byte alphabet",
        edit("tokens", lambda i: i.__setitem__(300, "日".encode())),
        ANYTHING,
        (),
    )
    yield "a huge token", edit("tokens", lambda items: items.__setitem__(300, b"x" * 1000000)), ANYTHING, ()
    yield "a merge of one word", edit("merges", lambda items: items.__setitem__(5, b"alone")), CORRUPT, ("merge",)
    yield "an empty merge", edit("merges", lambda items: items.__setitem__(5, b"")), CORRUPT, ("merge",)
    yield "a merge of unknown tokens", edit("merges", lambda items: items.__setitem__(5, b"qzq zqz")), ANYTHING, ()
    yield "a merge twice", edit("merges", lambda items: items.__setitem__(5, items[4])), ANYTHING, ()
    for key in ("bos_token_id", "eos_token_id"):
        for token in (4096, 2**31, 2**32 - 1):
            yield f"{key} {token}", own(key, gguf.UINT32, token), CORRUPT, (prefix + key,)
    yield "add_bos_token is a number", own("add_bos_token", gguf.UINT32, 7), CORRUPT, (prefix + "add_bos_token",)
    for source in (b"{% for", b"", b"\xff", b"{{ 1 / 0 }}", b"{% if 1 %}" * 50000):
        change = put("tokenizer.chat_template", gguf.Value(gguf.STRING, source))
        yield f"chat template {source[:12]!r}", change, ANYTHING, ()


def _array_changes(file: gguf.File) -> Iterator[Change]:
    for key in [key for key, value in file.metadata.items() if value.type == gguf.ARRAY]:
        for element in (gguf.ARRAY, 13, 2**32 - 1, gguf.FLOAT32, gguf.UINT64, gguf.BOOL):
            raw = gguf.Value(gguf.ARRAY, bytes(4096), element, 64)
            yield f"{key} of elements of type {element}", put(key, raw), ANY_REFUSAL, ()
        yield f"{key} is a number", put(key, gguf.Value(gguf.UINT32, 7)), CORRUPT, (key,)
    deep = gguf.Value(gguf.ARRAY, struct.pack("<IQ", gguf.ARRAY, 1) * 100000, gguf.ARRAY, 1)
    yield "arrays in arrays without end", put("x.deep", deep), ANY_REFUSAL, ()
    unknown = gguf.Value(13, b"")
    yield "a value of an unknown type", put("x.unknown", unknown), CORRUPT, ("x.unknown",)
