"""Reads foretoken.h and controller.h: a parser for the C of these headers, not for C.

`parse(text)` gives functions, structs, opaque handles, callback types and constants, each in the order of
the header, so that tests can be generated from the contract instead of repeating it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Variable:
    """A parameter or a field: `const char *text`, `char name[64]`."""

    name: str
    type: str  # as in C, without spaces around '*': "const char*", "const char*const*"
    length: int = 0  # of an array; 0 for a single value

    @property
    def is_pointer(self) -> bool:
        return self.type.endswith("*")

    @property
    def target(self) -> str:
        """What a pointer points to, without const: "char", "ftk_model", "ftk_model*"."""
        inner = self.type[:-1]
        return re.sub(r"\bconst\b", "", inner).replace(" ", "")


@dataclass(frozen=True)
class Function:
    name: str
    result: str
    parameters: tuple[Variable, ...]


@dataclass(frozen=True)
class Struct:
    name: str
    fields: tuple[Variable, ...]


@dataclass
class Header:
    functions: dict[str, Function] = field(default_factory=dict)
    structs: dict[str, Struct] = field(default_factory=dict)
    handles: list[str] = field(default_factory=list)
    callbacks: dict[str, Function] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    constants: dict[str, int] = field(default_factory=dict)
    macros: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


class HeaderError(Exception):
    """The header says something that this parser does not know."""


def _strip_comments(text: str) -> str:
    return re.sub(r"/\*.*?\*/", " ", text, flags=re.DOTALL)


def _type(words: str) -> str:
    """One spelling for each type: single spaces, none around '*'."""
    words = " ".join(words.split())
    return re.sub(r"\s*\*\s*", "*", words)


def _variable(text: str, constants: dict[str, int]) -> Variable:
    match = re.fullmatch(r"(.*?[\s*])(\w+)\s*(?:\[\s*(\w+)\s*\])?", text.strip(), flags=re.DOTALL)
    if match is None:
        raise HeaderError(f"not a declaration: {text!r}")
    length = match.group(3)
    count = 0 if length is None else constants[length] if length in constants else int(length, 0)
    return Variable(match.group(2), _type(match.group(1)), count)


def _parameters(text: str, constants: dict[str, int]) -> tuple[Variable, ...]:
    if text.strip() in ("", "void"):
        return ()
    return tuple(_variable(part, constants) for part in text.split(","))


def _number(text: str) -> int | None:
    text = text.strip()
    while text.startswith("(") and text.endswith(")"):
        text = text[1:-1].strip()
    if text == "UINT64_MAX":
        return 2**64 - 1
    try:
        return int(text, 0)
    except ValueError:
        return None


def _preprocess(text: str, header: Header) -> str:
    """Takes the #define lines out; the rest is declarations."""
    text = text.replace("\\\n", " ")
    lines = []
    inside_cplusplus = False
    for line in text.splitlines():
        if re.match(r"\s*#\s*ifdef\s+__cplusplus", line):
            inside_cplusplus = True
        elif inside_cplusplus:
            inside_cplusplus = not re.match(r"\s*#\s*endif", line)
        elif match := re.match(r"\s*#\s*define\s+(\w+)(\([^)]*\))?\s*(.*)", line):
            name, arguments, body = match.groups()
            if arguments:
                header.macros[name] = body.strip()
            elif match := re.fullmatch(r'"([^"\\]*)"', body.strip()):
                header.texts[name] = match[1]
            elif body.strip():
                number = _number(body)
                if number is None:
                    raise HeaderError(f"#define {name} {body}: no integer")
                header.constants[name] = number
        elif not re.match(r"\s*#", line):
            lines.append(line)
    return "\n".join(lines)


def _declarations(text: str) -> list[str]:
    """Splits at the semicolons outside of braces."""
    parts, depth, start = [], 0, 0
    for index, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
        elif character == ";" and depth == 0:
            parts.append(text[start:index].strip())
            start = index + 1
    if text[start:].strip():
        raise HeaderError(f"left over at the end: {text[start:].strip()!r}")
    return [part for part in parts if part]


def _enumerators(body: str, header: Header) -> None:
    for part in body.split(","):
        if part.strip():
            name, _, value = part.partition("=")
            number = _number(value)
            if number is None:
                raise HeaderError(f"enumerator without a plain value: {part.strip()!r}")
            header.constants[name.strip()] = number


def _declaration(text: str, header: Header) -> None:
    if match := re.fullmatch(r"enum\s*\{(.*)\}", text, flags=re.DOTALL):
        _enumerators(match.group(1), header)
    elif match := re.fullmatch(r"typedef\s+struct\s+(\w+)\s*\{(.*)\}\s*(\w+)", text, flags=re.DOTALL):
        tag, body, name = match.groups()
        if tag != name:
            raise HeaderError(f"struct {tag} is called {name}")
        fields = tuple(_variable(part, header.constants) for part in body.split(";") if part.strip())
        header.structs[name] = Struct(name, fields)
    elif match := re.fullmatch(r"typedef\s+struct\s+(\w+)\s+(\w+)", text):
        header.handles.append(match.group(2))
    elif match := re.fullmatch(r"typedef\s+(.+?)\(\s*\*\s*(\w+)\s*\)\s*\((.*)\)", text, flags=re.DOTALL):
        result, name, parameters = match.groups()
        header.callbacks[name] = Function(name, _type(result), _parameters(parameters, header.constants))
    elif match := re.fullmatch(r"typedef\s+(\w+)\s+(\w+)", text):
        header.aliases[match.group(2)] = match.group(1)
    elif match := re.fullmatch(r"([\w\s*]+?)(\w+)\s*\((.*)\)", text, flags=re.DOTALL):
        result, name, parameters = match.groups()
        header.functions[name] = Function(name, _type(result), _parameters(parameters, header.constants))
    else:
        raise HeaderError(f"not understood: {text!r}")


def parse(text: str) -> Header:
    header = Header()
    for declaration in _declarations(_preprocess(_strip_comments(text), header)):
        _declaration(declaration, header)
    return header


def read(*paths: str) -> Header:
    """Several headers as if one were behind the other."""
    texts = []
    for path in paths:
        with open(path, encoding="utf-8") as file:
            texts.append(file.read())
    return parse("\n".join(texts))
