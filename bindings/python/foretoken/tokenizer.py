"""Text to tokens and back, and conversations to prompts."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _abi
from ._handle import Handle
from ._library import c_text, check, checked_int, int32_array, library, path_bytes, text_from, tokens_from, utf8
from .errors import InvalidArgumentError
from .results import TokenizerInfo

if TYPE_CHECKING:
    from typing_extensions import Self

Message = Mapping[str, str]
"""One turn of a conversation: {"role": "user", "content": "…"}."""


class Tokenizer:
    """The tokenizer of a model; open(path) reads one without its weights. May be used by several threads."""

    def __init__(self, pointer: int) -> None:
        """Takes over a handle of the library; use Tokenizer.open or Model.tokenizer."""
        self._handle = Handle(self, pointer, library().ftk_tokenizer_release, "tokenizer")

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Tokenizer:
        """Reads only the tokenizer of a GGUF file or a Hugging Face folder."""
        pointer = ctypes.c_void_p()
        check(library().ftk_tokenizer_open(path_bytes(path, "path"), ctypes.byref(pointer)))
        assert pointer.value is not None
        return cls(pointer.value)

    @property
    def info(self) -> TokenizerInfo:
        struct = _abi.ftk_tokenizer_info(struct_size=ctypes.sizeof(_abi.ftk_tokenizer_info))
        check(library().ftk_tokenizer_get_info(self._handle.pointer, ctypes.byref(struct)))
        bos, eos, unknown = (
            None if token == _abi.FTK_NO_TOKEN else token
            for token in (struct.bos_token, struct.eos_token, struct.unknown_token)
        )
        return TokenizerInfo(
            vocabulary_size=struct.vocabulary_size,
            bos_token=bos,
            eos_token=eos,
            unknown_token=unknown,
            adds_bos=bool(struct.adds_bos),
            adds_eos=bool(struct.adds_eos),
            has_chat_template=bool(struct.has_chat_template),
        )

    def encode(self, text: str | bytes, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Text to token ids.

        add_special puts BOS and EOS where the model asks for them; parse_special turns text such as "<|im_end|>"
        into the special token, which must not happen to text of users.
        """
        data = utf8(text, "text")
        flags = _abi.FTK_ENCODE_ADD_SPECIAL * bool(add_special) | _abi.FTK_ENCODE_PARSE_SPECIAL * bool(parse_special)
        pointer = self._handle.pointer
        return tokens_from(
            lambda buffer, capacity, count: library().ftk_tokenizer_encode(
                pointer, data, len(data), flags, buffer, capacity, count
            ),
            guess=len(data) + 2,
        )

    def decode(self, tokens: Sequence[int], skip_special: bool = False) -> str:
        """Token ids to text; bytes that are no valid UTF-8 become U+FFFD."""
        array = int32_array(tokens, "tokens")
        flags = _abi.FTK_DECODE_SKIP_SPECIAL * bool(skip_special)
        pointer = self._handle.pointer
        return text_from(
            lambda buffer, capacity, size: library().ftk_tokenizer_decode(
                pointer, array, len(array), flags, buffer, capacity, size
            ),
            guess=16 * len(array) + 1,
        )

    def token_text(self, token: int) -> str:
        """The text of one token as the vocabulary stores it."""
        pointer, token = self._handle.pointer, checked_int(token, ctypes.c_int32, "token")
        return text_from(
            lambda buffer, capacity, size: library().ftk_tokenizer_token_text(pointer, token, buffer, capacity, size)
        )

    def apply_chat_template(
        self, messages: Sequence[Message], template: str | None = None, add_generation_prompt: bool = True
    ) -> str:
        """Renders a conversation as text, to look at: use encode_chat for tokens, which messages cannot subvert.

        `template` is None (the model's own), a built-in name such as "chatml", or the source of a template.
        """
        arguments = self._chat_arguments(messages, template, add_generation_prompt)
        return text_from(
            lambda buffer, capacity, size: library().ftk_tokenizer_apply_chat_template(
                *arguments, buffer, capacity, size
            ),
            guess=4096,
        )

    def encode_chat(
        self, messages: Sequence[Message], template: str | None = None, add_generation_prompt: bool = True
    ) -> list[int]:
        """Renders a conversation as token ids; the contents of messages never become special tokens."""
        arguments = self._chat_arguments(messages, template, add_generation_prompt)
        return tokens_from(
            lambda buffer, capacity, count: library().ftk_tokenizer_encode_chat(*arguments, buffer, capacity, count),
            guess=1024,
        )

    def _chat_arguments(self, messages: Sequence[Message], template: str | None, generate: bool) -> tuple[Any, ...]:
        array = chat_array(messages)
        source = None if template is None else c_text(template, "template")
        flags = _abi.FTK_CHAT_ADD_GENERATION_PROMPT * bool(generate)
        return self._handle.pointer, source, array, len(array), flags

    def decoder(self, skip_special: bool = False) -> StreamDecoder:
        """A decoder for a stream of tokens; it never splits a code point."""
        pointer = ctypes.c_void_p()
        flags = _abi.FTK_DECODE_SKIP_SPECIAL * bool(skip_special)
        check(library().ftk_decoder_create(self._handle.pointer, flags, ctypes.byref(pointer)))
        assert pointer.value is not None
        return StreamDecoder(pointer.value)

    def close(self) -> None:
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class StreamDecoder:
    """Text of tokens that come one by one; for one thread at a time."""

    def __init__(self, pointer: int) -> None:
        """Takes over a handle of the library; use Tokenizer.decoder."""
        self._handle = Handle(self, pointer, library().ftk_decoder_destroy, "decoder")

    def push(self, token: int) -> str:
        """The text that `token` completes, perhaps none."""
        pointer, token = self._handle.pointer, checked_int(token, ctypes.c_int32, "token")
        return text_from(
            lambda buffer, capacity, size: library().ftk_decoder_push(pointer, token, buffer, capacity, size)
        )

    def finish(self) -> str:
        """The text of an unfinished code point at the end, and a fresh start."""
        pointer = self._handle.pointer
        return text_from(lambda buffer, capacity, size: library().ftk_decoder_finish(pointer, buffer, capacity, size))

    def close(self) -> None:
        self._handle.close()


def chat_array(messages: Sequence[Message]) -> Any:
    """A C array of ftk_chat_message, which keeps its texts alive."""
    array = (_abi.ftk_chat_message * len(messages))()
    for index, message in enumerate(messages):
        if not isinstance(message, Mapping) or set(message) != {"role", "content"}:
            raise InvalidArgumentError(
                f"messages[{index}] must be a mapping with exactly the keys role and content, not {message!r}"
            )
        array[index].struct_size = ctypes.sizeof(_abi.ftk_chat_message)
        array[index].role = c_text(message["role"], f"messages[{index}].role")
        array[index].content = c_text(message["content"], f"messages[{index}].content")
    return array
