"""Makes Tests/FormatsTests/Fixtures/chat/golden.json: what Jinja renders for chat templates.

Made with Python 3.11 and jinja2 3.1.6, in the environment that model hubs render chat templates in: the
immutable sandbox with trim_blocks, lstrip_blocks and loop controls, json.dumps as the filter `tojson`, and
the functions `raise_exception` and `strftime_now`. The templates are this project's own; those in
chat_families/ follow the published prompt formats of model families.

    python make_chat_golden.py [path of ggml-vocab-qwen2.gguf]

With the path, also makes golden_qwen2.json: expected texts for the template in that file, which itself
is not written.
"""

import json
import pathlib
import struct
import sys
from datetime import UTC, datetime

import jinja2
import jinja2.ext
import jinja2.nodes
from chat_cases import CASES, CONVERSATIONS, EXTRA, TOOLS, WEATHER
from jinja2.sandbox import ImmutableSandboxedEnvironment

HERE = pathlib.Path(__file__).parent
OUT = HERE.parent / "FormatsTests" / "Fixtures" / "chat"
NOW = 1_721_990_096  # 2024-07-26 10:34:56 UTC


class Generation(jinja2.ext.Extension):
    """`{% generation %}` marks what the model wrote; rendering is the body, with its own scope."""

    tags = frozenset({"generation"})

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_render"), [], [], body).set_lineno(line)

    def _render(self, caller):
        return caller()


def environment():
    env = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols, Generation]
    )

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: datetime.fromtimestamp(NOW, UTC).strftime(fmt)
    return env


def render(env, case):
    variables = {
        "messages": case["messages"],
        "tools": case.get("tools"),
        "documents": None,
        "add_generation_prompt": case.get("add_generation_prompt", False),
        "bos_token": case.get("bos", "<s>"),
        "eos_token": case.get("eos", "</s>"),
        **case.get("extra", {}),
    }
    try:
        return {"expected": env.from_string(case["template"]).render(**variables)}
    except jinja2.exceptions.TemplateError as error:
        if type(error) is jinja2.exceptions.TemplateError:
            return {"error": str(error)}
        return {"error": ""}
    except (TypeError, ValueError, ZeroDivisionError, OverflowError):
        return {"error": ""}


def family_cases():
    for path in sorted((HERE / "chat_families").glob("*.jinja")):
        source = path.read_text(encoding="utf-8")
        for name, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                for tools in (None, TOOLS):
                    case = {"template": source, "messages": messages, "tools": tools, "add_generation_prompt": prompt}
                    label = {"family": path.stem, "conversation": name, "tools": tools is not None, "prompt": prompt}
                    yield label, case
                    if "enable_thinking" in source and tools is None:
                        yield label | {"thinking": False}, case | {"extra": {"enable_thinking": False}}


def main():
    env = environment()
    cases = []
    for template in CASES:
        case = {"template": template, "messages": WEATHER, "extra": EXTRA}
        cases.append({"template": template} | render(env, case))
    families = {p.stem: p.read_text(encoding="utf-8") for p in sorted((HERE / "chat_families").glob("*.jinja"))}
    golden = {
        "jinja2": jinja2.__version__, "now": NOW, "families": families, "conversations": CONVERSATIONS, "tools": TOOLS,
        "messages": WEATHER, "extra": EXTRA, "cases": cases,
        "family_cases": [label | render(env, case) for label, case in family_cases()],
    }
    OUT.mkdir(parents=True, exist_ok=True)
    write(OUT / "golden.json", golden)
    if len(sys.argv) > 1:
        source = gguf_string(pathlib.Path(sys.argv[1]).read_bytes(), b"tokenizer.chat_template")
        cases = []
        for name, messages in CONVERSATIONS.items():
            for prompt in (False, True):
                case = {"template": source, "messages": messages, "add_generation_prompt": prompt}
                cases.append({"conversation": name, "prompt": prompt} | render(env, case))
        write(OUT / "golden_qwen2.json", {"cases": cases})


def write(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, indent=0) + "\n", encoding="utf-8")


def gguf_string(data, key):
    """The string stored under `key`: key, type 8, 64-bit length, bytes."""
    place = data.index(struct.pack("<Q", len(key)) + key) + 8 + len(key)
    kind, length = struct.unpack_from("<IQ", data, place)
    assert kind == 8
    return data[place + 12 : place + 12 + length].decode()


if __name__ == "__main__":
    main()
