"""Writes Tests/FormatsTests/Fixtures/tokenizer/: small tokenizers and what PyPI's `tokenizers` makes of many texts.

Needs: Python 3.11, tokenizers 0.23.3. Usage: make_tokenizer_golden.py FIXTURES SHARED_DATA, the latter being the
folder that tests find through FTK_TEST_DATA.
Everything is deterministic. The small vocabularies are trained on the texts of this script.
"""

import copy
import json
import pathlib
import random
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

assert tokenizers.__version__ == "0.23.3", tokenizers.__version__

CONTRACTIONS = "'s|'t|'re|'ve|'m|'ll|'d"
SPELLED = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
GPT2 = CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = r"(?i:" + CONTRACTIONS + r")|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = r"(?i:" + CONTRACTIONS + r")|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
LLAMA3_GGUF = LLAMA3.replace("(?i:" + CONTRACTIONS + ")", SPELLED)
QWEN2_GGUF = QWEN2.replace("(?i:" + CONTRACTIONS + ")", SPELLED)
DEEPSEEK3 = (
    r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
).replace('\\"', '"')
CODER_CJK = "[一-龥ࠀ-一가-퟿]+"
V3_CJK = "[一-龥぀-ゟ゠-ヿ]+"

# Pre-tokenizers by their tokenizer.ggml.pre name, as the published lists of regular expressions.
NAMED = {
    "gpt-2": [GPT2],
    "mpt": [GPT2],
    "llama-bpe": [LLAMA3_GGUF],
    "qwen2": [QWEN2_GGUF],
    "smollm": [r"\p{N}", GPT2],
    "starcoder": [r"\p{N}", GPT2],
    "refact": [r"\p{N}", GPT2],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CODER_CJK, r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", V3_CJK, DEEPSEEK3],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"],
    "default": [r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
}

WRITTEN = [
    "", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\t\n", "a", "Z", "0", "é", "ß", "中", "🦙",
    "Hello, world!", " Hello, world!", "Hello  world", "Hello   world   ", "hello\tworld", "hello\n\n  world\n",
    "The quick brown fox jumps over the lazy dog.", "I'm sure you're right, they've said we'll go; he'd know it's so.",
    "I'M SURE YOU'RE RIGHT, THEY'VE SAID WE'LL GO; HE'D KNOW IT'S SO.", "'ſ 'ſs it'ſ", "'''s'S't''re 're're", "'", "''",
    "x' y' 'z", "rock'n'roll don’t ‘quote’ “double”", "1", "12", "123", "1234", "12345", "123456", "1234567",
    "3.14159e-10", "1,234,567.89", "0x1F600", "²³¹¼½¾", "٣٤٥٦", "१२३४", "Ⅷ ⅷ ⑧ ⒏ 〸", "10% of $5.00 = 50¢ + €2 ~ £1",
    "def f(x):\n    return x + 1\n\n\nclass A(B):\n\tpass\n", "if (a==b) { c+=1; } // done\r\n\r\n", "import numpy as np",
    "#include <stdio.h>\nint main(void) { printf(\"%d\\n\", 42); return 0; }", "SELECT * FROM t WHERE a <> 'b';",
    "let π = 3.14; // Ω", "x = [i for i in range(10) if i % 2 == 0]", "    indented\n        more\n    less",
    "a_b_c __init__ camelCase PascalCase SCREAMING_CASE", "https://example.com/a?b=c&d=e#f", "user@example.org",
    "日本語のテキストです。", "我想在apple工作1314151天～", "한국어 텍스트입니다.", "中文，标点：测试！", "ｆｕｌｌｗｉｄｔｈ　ＡＢＣ１２３",
    "カタカナ ひらがな 漢字", "ㄱㄴㄷ ㅏㅑㅓ", "Привет, мир! Как дела?", "Ελληνικά γράμματα", "שלום עולם", "مرحبا بالعالم",
    "مرحبا 123 hello שלום", "\u202eRTL\u202c mixed \u200f", "हिन्दी में पाठ", "ภาษาไทยไม่มีช่องว่าง", "កាន់តែពិសេសអាចខលចេញ",
    "Tiếng Việt có dấu", "Cửa Việt", "e\u0301 a\u0308 o\u0323\u0307 n\u0303", "\u0301 alone \u0308\u0301", "\u1100\u1161\u11a8 \uac01",
    "\u212b \u2126 \u2000x\u2001", "\u0344 \u0958 \ufb1d \U0001d15e", "q\u0307\u0323 d\u0307\u0323", "ﬁ ﬂ ﬆ ﬃ", "İstanbul ıI iİ ǅ ẞ",
    "🙂", "👩‍👩‍👧‍👦 family", "🏳️‍🌈 flag 🇩🇪🇫🇷", "😶‍🌫️😀😃😄", "👍🏽 👍🏿", "1️⃣ #️⃣ ©️ ™", "✅ (only emoji)", "♥ ♦ ♣ ♠ ★ ☆", "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋, α ∧ ¬β",
    "\u0000", "\u0001\u0002\u001b[31mred\u001b[0m", "\u007f\u0080\u0085\u009f", "a\u00a0b\u2003c\u3000d\u2028e\u2029f", "\u200b\u200c\u200d\u2060\ufeff",
    "\u1680 \u180e \u202f \u205f", "\x1c\x1d\x1e\x1f", "\x0b\x0c", "a\x85b", "\ufffd \ufffe \U0010ffff", "\ue000 private", "\U0001f9ff\U000e0001",
    " " * 7, " " * 8 + "x", " " * 33, "\n" * 9, "\t" * 5 + "x", " \n \n \n x", "x \n", "x \n ", "x\n \n", "x  \n\n  y", "\r\r\n\n\r", " \t \t \n\t x",
    "word\u3000\u3000word", "x" * 100, "ab" * 60, "=" * 40, "-" * 79 + "\n", "!" * 11, "?!" * 9, "...", "....", "'" * 12, '"' * 7, "`" * 6, "~" * 5,
    "$$$ +++ <<< === >>> ^^^ ~~~ ||| ```", "a$b+c<d=e>f^g~h|i`j", "(a) [b] {c} <d> /e\\ |f|", "¡Hola! ¿Qué tal? «sí» ‹no›", "a—b–c-d‐e",
    "<|endoftext|>", "a<|endoftext|>b", "<s>hello</s>", "<unk>", " <s> ", "<|im_start|>user\nhi<|im_end|>\n", "<|im_start|", "|>", "<|im_start|><|im_end|>",
    "text <|user|>  spaced", "<|user|>\n", "<mask>", "  <mask>  ", "a <mask> b", "tool", "a tool b", "tools toolbox atool", "tool_", "tool.", "<tool>tool</tool>",
    "É<é>E\u0301", "Ée<E\u0301e>", "e\u0301\u0301<|endoftext|>\u0301", "<0x41>", "<0x0A> <0xFF>", "▁", "▁▁a", " ▁ a", "a▁b", "Ġ Ċ ĉ", "ĠHello", "[PAD]", "<br/>", "&lt;s&gt;",
    "README.md v1.2.3-rc4+build.5", "2024-02-30T25:61:00Z", "C3PO R2D2 3x3 x86_64 utf8 H2O", "١٢٣abc٤٥٦", "a1b22c333d4444", "v٣.٤", "½cup 1½cups",
]  # fmt: skip


def random_texts(generator):
    assigned = [c for c in range(0x110000) if unicodedata.category(chr(c)) not in ("Cn", "Cs", "Co")]
    small = [c for c in assigned if c < 0x500]
    pieces = [" ", "  ", "\n", "'s", "'LL", "12", "word", "Word", "\t", ".", "!?", "é", "中", "e\u0301", "<s>", "▁"]
    texts = ["".join(chr(generator.choice(assigned)) for _ in range(24)) for _ in range(40)]
    texts += ["".join(chr(generator.choice(small)) for _ in range(24)) for _ in range(25)]
    texts += ["".join(generator.choice(pieces) for _ in range(16)) for _ in range(35)]
    return texts


TEXTS = list(dict.fromkeys(WRITTEN + random_texts(random.Random(20240607))))


# Small tokenizers.


def special(number, content, **flags):
    token = {
        "id": number, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
        "normalized": False, "special": True,
    }  # fmt: skip
    return {**token, **flags}


def added(model, first, *tokens):
    """Tokens with ids from `first` on, or the id that the model has for their content."""
    result = []
    for content, flags in tokens:
        number = model["vocab"].get(content, first)
        first += number == first
        result.append(special(number, content, **flags))
    return result


def shell(model, added, **stages):
    root = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": added}
    for key in ("normalizer", "pre_tokenizer", "post_processor", "decoder"):
        root[key] = stages.get(key)
    return {**root, "model": model}


def trained_model(pre_tokenizer, size, alphabet, corpus):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizer
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False, min_frequency=2)
    tokenizer.train_from_iterator(corpus, trainer)
    return json.loads(tokenizer.to_str())["model"]


def renumbered(model, first):
    """The model with the tokens `first` before all others."""
    order = first + sorted((t for t in model["vocab"] if t not in first), key=model["vocab"].get)
    return {**model, "vocab": {token: number for number, token in enumerate(order)}}


def template(prefix, number, suffix=None, suffix_number=None):
    parts = [{"SpecialToken": {"id": prefix, "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}]
    tokens = {prefix: {"id": prefix, "ids": [number], "tokens": [prefix]}}
    if suffix:
        parts.append({"SpecialToken": {"id": suffix, "type_id": 0}})
        tokens[suffix] = {"id": suffix, "ids": [suffix_number], "tokens": [suffix]}
    pair = parts + [{"Sequence": {"id": "B", "type_id": 1}}]
    return {"type": "TemplateProcessing", "single": parts, "pair": pair, "special_tokens": tokens}


def split(regex, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": {"Regex": regex}, "behavior": behavior, "invert": invert}


def byte_level(prefix=False, regex=True):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}


def sequence(*parts, key="pretokenizers"):
    return {"type": "Sequence", key: list(parts)}


def metaspace(scheme, do_split):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": do_split}


def sentencepiece_family(corpus):
    marks = [f"<0x{byte:02X}>" for byte in range(256)]
    corpus = [text.replace("▁", "") for text in corpus]
    base = trained_model(pre_tokenizers.Metaspace(), 620, [], [t for t in corpus if t.isascii()])
    bytes_model = renumbered(base, ["<unk>", "<s>", "</s>"] + marks)
    bytes_model.update(unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    size = len(bytes_model["vocab"])
    roles = [special(0, "<unk>"), special(1, "<s>"), special(2, "</s>")]
    extra = added(bytes_model, size, ("<|user|>", {"rstrip": True}), ("tool", {"special": False, "normalized": True}))
    decoder = sequence(
        {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}, key="decoders",
    )  # fmt: skip
    prepend = sequence(
        {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        key="normalizers",
    )  # fmt: skip
    post = template("<s>", 1)
    yield "llama2", shell(bytes_model, roles + extra, normalizer=prepend, post_processor=post, decoder=decoder)
    yield "mistral", shell(bytes_model, roles, pre_tokenizer=metaspace("first", False), post_processor=post, decoder=decoder)
    plain = renumbered(base, ["<unk>", "<s>", "</s>"])
    plain.update(unk_token="<unk>", fuse_unk=False, byte_fallback=False)
    yield "metaspace", shell(plain, roles, pre_tokenizer=metaspace("always", True), decoder=metaspace("always", True))
    fused = {**copy.deepcopy(plain), "fuse_unk": True}
    lower = sequence(
        {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True},
        {"type": "Replace", "pattern": {"String": "the"}, "content": "this"}, key="normalizers",
    )  # fmt: skip
    stages = sequence(
        {"type": "Split", "pattern": {"String": ","}, "behavior": "Removed", "invert": False},
        split("[0-9]", "MergedWithPrevious"), {"type": "Digits", "individual_digits": False},
        split(r"\s+", "Contiguous"), metaspace("never", True),
    )  # fmt: skip
    yield "stages", shell(fused, roles, normalizer=lower, pre_tokenizer=stages, decoder=metaspace("never", True))


def byte_level_family(corpus):
    base = trained_model(pre_tokenizers.ByteLevel(add_prefix_space=False), 700, sorted(pre_tokenizers.ByteLevel.alphabet()), corpus)
    size = len(base["vocab"])
    roles = [special(size, "<|endoftext|>"), special(size + 1, "<|im_start|>"), special(size + 2, "<|im_end|>")]
    extra = added(
        base, size + 3, ("<mask>", {"lstrip": True}), ("tool", {"special": False, "single_word": True}),
        ("Ée", {"special": False, "normalized": True}), ("   ", {"special": False}),
    )  # fmt: skip
    decoder = byte_level()
    post = sequence(byte_level(), template("<|im_start|>", size + 1, "<|im_end|>", size + 2), key="processors")
    words = sequence(split(LLAMA3), byte_level(regex=False))
    yield "llama3", shell({**base, "ignore_merges": True}, roles, pre_tokenizer=words, post_processor=post, decoder=decoder)
    words = sequence(split(QWEN2), byte_level(regex=False))
    yield "qwen2", shell(base, roles + extra, normalizer={"type": "NFC"}, pre_tokenizer=words, post_processor=byte_level(), decoder=decoder)
    words = sequence(
        split("[\r\n]"), split(r"\s?\p{L}+"), split(r"\s?\p{P}+"), split(CODER_CJK),
        {"type": "Digits", "individual_digits": True}, byte_level(regex=False),
    )  # fmt: skip
    yield "deepseek-coder", shell(base, roles, pre_tokenizer=words, decoder=decoder)
    words = sequence(split(r"\p{N}{1,3}"), split(V3_CJK), split(DEEPSEEK3), byte_level(regex=False))
    yield "deepseek-v3", shell(base, roles, pre_tokenizer=words, decoder=decoder)
    words = sequence(
        {"type": "Punctuation", "behavior": "Contiguous"}, byte_level(), {"type": "Digits", "individual_digits": False},
        split("[0-9][0-9][0-9]"),
    )  # fmt: skip
    yield "falcon", shell(base, roles, pre_tokenizer=words, decoder=decoder)
    yield "gpt2-prefix", shell(base, roles, pre_tokenizer=byte_level(prefix=True), decoder=decoder)
    words = sequence(split(LLAMA3, "Removed", True), byte_level(regex=False))
    yield "inverted", shell(base, roles, pre_tokenizer=words, decoder=decoder)


# Golden files.


def encodings(tokenizer, texts):
    """Ids with control tokens recognised, and, where they differ, without."""
    with_special = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = True
    plain = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    tokenizer.encode_special_tokens = False
    differing = {str(i): ids for i, ids in enumerate(plain) if ids != with_special[i]}
    framed = tokenizer.encode("Hello, world!").ids
    decoded = [tokenizer.decode(ids, skip_special_tokens=False) for ids in with_special]
    changed = {str(i): text for i, text in enumerate(decoded) if text != texts[i]}
    return {"ids": with_special, "plain": differing, "framed": framed, "decoded": changed}


def named_splits(regexes, texts):
    """The number of characters of each word."""
    stages = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated") for regex in regexes])
    return [[len(word) for word, _ in stages.pre_tokenize_str(text)] for text in texts]


def digest(ids):
    """FNV-1a over the ids: prompts are too long to list theirs."""
    state = 0xCBF29CE484222325
    for number in ids:
        state = (state ^ number) * 0x100000001B3 % 2**64
    return f"{state:016x}"


def prompt_digests(tokenizer, path):
    prompts = [json.loads(line)["prompt"] for line in path.read_text(encoding="utf-8").splitlines()]
    return [digest(tokenizer.encode(prompt, add_special_tokens=False).ids) for prompt in prompts]


def large_texts(shared):
    files = ["prompts/python.jsonl", "prompts/self-instruct.jsonl"]
    texts = [(shared / name).read_text(encoding="utf-8") for name in files]
    return [*texts, "a" * 100_000, " " * 100_000, "ab\n" * 50_000, "中文字" * 30_000]


def dump(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n", encoding="utf-8")


def main():
    folder, shared = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    golden = {"tokenizers": tokenizers.__version__, "texts": TEXTS, "sets": {}}
    smollm2 = Tokenizer.from_file(str(shared / "tokenizers/smollm2/tokenizer.json"))
    golden["sets"]["smollm2"] = encodings(smollm2, TEXTS)
    golden["large"] = [digest(smollm2.encode(text).ids) for text in large_texts(shared)]
    corpus = TEXTS * 3
    for name, root in [*sentencepiece_family(corpus), *byte_level_family(corpus)]:
        (folder / name).mkdir(exist_ok=True)
        dump(folder / name / "tokenizer.json", root)
        golden["sets"][name] = encodings(Tokenizer.from_str(json.dumps(root)), TEXTS)
    golden["splits"] = {name: named_splits(regexes, TEXTS) for name, regexes in NAMED.items()}
    pair = Tokenizer.from_file(str(shared / "models/pair/target/tokenizer.json"))
    golden["prompts"] = prompt_digests(pair, shared / "prompts/python.jsonl")
    dump(folder / "golden.json", golden)


main()
