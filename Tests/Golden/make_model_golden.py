"""Make the model fixtures: tiny random models in both file formats and the log-probabilities they must give.

usage: make_model_golden.py OUT_DIR       (the repository keeps the output in Tests/ModelTests/Fixtures/models)

For each model this writes, under OUT_DIR/<name>/:

    hf/             config.json, model.safetensors (or shards and an index), tokenizer.json, tokenizer_config.json
    model.gguf      the same weights in GGUF form (absent where the model is "folder only")
    golden.json     {"tokens": 40 ids, "vocab": V, "logprobs_file": "golden.f32", ...}
    golden.f32      [40, V] little-endian float32: log-softmax of the logits at each position

and OUT_DIR/index.json (the list of models, with the tolerance for each) and OUT_DIR/tokenizer_samples.json
(texts and their ids under the tokenizer all models share).

The expected values come from transformers in float32 with eager attention. Before anything is kept, the script
  * loads the written folder again with transformers and asks for bit-equal log-probabilities,
  * reads the written GGUF file back with GGUFReader, checks names, shapes and types, and runs it through the float64
    numpy forward pass below, which follows GGUF's own conventions, asking for agreement,
  * switches off each feature that the model is there to test and asks that the answer then is clearly wrong.
Output depends only on the seed below.
Run with Python 3.11, torch 2.15.0, transformers 5.23.0, gguf 0.19.0, safetensors 0.8.0, tokenizers 0.23.3, numpy 2.4.6.
"""

import copy
import dataclasses
import json
import math
import pathlib
import shutil
import sys
import tempfile
import zlib

import gguf
import numpy as np
import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

SEED = 1729
POSITIONS = 40
TOKENIZER_SIZE = 319
TOLERANCE = 2e-4  # on log-probabilities, for an implementation that computes in float32

TEXT = """\
The lighthouse keeper counted the ships that passed before dawn, and wrote each name in a long grey book.
When the fog came in, he counted the bells instead; when there were no bells, he counted the waves.
A sequence of tokens goes in, and a distribution over the next token comes out. That is all there is to it.
for i in range(10): print(i, i * i)    # the squares
let total = values.reduce(0) { $0 + $1 }
In the year 1842 there were 317 houses in the village, 2 mills, and 1 inn; it's said that they'd all burned by 1850.
"Who's there?" asked the miller. "Nobody," answered the wind, "nobody at all."
The quick brown fox jumps over the lazy dog, then the other fox, then the other dog, then the other other fox.
Grüße aus Köln, où le café est très bon. Στην αρχή ήταν ο λόγος. В начале было слово. 初めに言葉があった。
"""

SAMPLES = [
    "",
    "The keeper counted the other waves.",
    "  two spaces,\ttab\nnewline\n\n  and 12345 digits",
    "it's they'd we'll I'm 've",
    "Grüße 言葉 🙂 \u00a0 é e\u0301",
    "<|endoftext|>the<|endoftext|>",
    "for i in range(10):\n    print(i)\n",
]


@dataclasses.dataclass
class Spec:
    name: str
    arch: str  # llama, mistral, qwen2 or qwen3, as transformers names it
    config: dict
    gguf: bool = True  # also written as GGUF
    folder_style: str = "new"  # config.json as transformers 5 writes it, or "old" as transformers 4 did
    store: torch.dtype = torch.float32
    matrix_std: float = 0.2
    shards: int = 1
    gguf_head_dim: bool = False  # write attention.key_length even where it is hidden / heads
    ablate: dict = dataclasses.field(default_factory=dict)  # label -> changed config or {"zero" / "one": suffix}


def shape(hidden: int, heads: int, kv: int, ffn: int, head_dim: int | None = None, vocab: int = TOKENIZER_SIZE) -> dict:
    out = {
        "hidden_size": hidden,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "num_hidden_layers": 2,
        "max_position_embeddings": 128,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return out | ({"head_dim": head_dim} if head_dim else {})


def plain(theta: float) -> dict:
    return {"rope_type": "default", "rope_theta": theta}


def linear(theta: float, factor: float) -> dict:
    return {"rope_type": "linear", "rope_theta": theta, "factor": factor}


def llama3(theta: float, original: int) -> dict:
    return {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": original,
    }


def model(tie: bool, eps: float, rope: dict, **more: object) -> dict:
    return {"tie_word_embeddings": tie, "rms_norm_eps": eps, "rope_parameters": rope, **more}


SPECS = [
    Spec("llama2", "llama", shape(32, 4, 4, 52) | model(False, 1e-5, plain(10000.0)), folder_style="old"),
    Spec(
        "llama3",
        "llama",
        shape(48, 6, 2, 56) | model(True, 1e-5, plain(500000.0)),
    ),
    Spec(
        "llama31",
        "llama",
        shape(48, 2, 1, 56) | model(True, 1e-5, llama3(10000.0, 32)) | {"eos_token_id": [0, 7]},
        ablate={"llama3 rope scaling": {"rope_parameters": plain(10000.0)}},
    ),
    Spec(
        "llama-linear",
        "llama",
        shape(32, 2, 2, 40) | model(False, 1e-6, linear(10000.0, 4.0)),
        folder_style="old",
        ablate={"linear rope scaling": {"rope_parameters": plain(10000.0)}},
    ),
    Spec(
        "llama-bias",
        "llama",
        shape(32, 4, 2, 44) | model(False, 1e-5, plain(10000.0), attention_bias=True, mlp_bias=True),
        ablate={f"{n} bias": {"zero": f"{n}_proj.bias"} for n in ("q", "k", "v", "o", "gate", "up", "down")},
    ),
    Spec("llama-f16", "llama", shape(32, 4, 2, 72) | model(False, 1e-5, plain(10000.0)), store=torch.float16),
    Spec(
        "llama3-sharded",
        "llama",
        shape(32, 2, 1, 60) | model(False, 1e-5, llama3(20000.0, 36)) | {"num_hidden_layers": 3},
        gguf=False,
        folder_style="old",
        shards=3,
        ablate={"llama3 rope scaling": {"rope_parameters": plain(20000.0)}},
    ),
    Spec(
        "mistral",
        "mistral",
        shape(32, 4, 2, 56) | model(False, 1e-2, plain(1000000.0), sliding_window=None),
        gguf_head_dim=True,
        ablate={"rms_norm_eps": {"rms_norm_eps": 1e-5}},
    ),
    Spec(
        "mistral-window",
        "mistral",
        shape(32, 4, 2, 56) | model(False, 1e-5, plain(10000.0), sliding_window=8),
        gguf=False,
        ablate={"window": {"sliding_window": None}, "window of 8, not 9": {"sliding_window": 9}},
    ),
    Spec("smollm-like", "llama", shape(36, 3, 1, 52, head_dim=16) | model(True, 1e-5, plain(100000.0))),
    Spec("tinyllama-like", "llama", shape(64, 8, 2, 56) | model(False, 1e-5, plain(10000.0))),
    Spec(
        "qwen2",
        "qwen2",
        shape(48, 4, 2, 60, vocab=331) | model(True, 1e-6, plain(1000000.0)),
        ablate={f"{n} bias": {"zero": f"{n}_proj.bias"} for n in ("q", "k", "v")},
    ),
    Spec(
        "qwen2-untied", "qwen2", shape(32, 4, 1, 68, vocab=325) | model(False, 1e-6, plain(10000.0)), folder_style="old"
    ),
    Spec(
        "qwen2-bf16",
        "qwen2",
        shape(32, 2, 1, 72, vocab=323) | model(True, 1e-6, plain(1000000.0)),
        store=torch.bfloat16,
    ),
    Spec(
        "qwen3",
        "qwen3",
        shape(32, 4, 2, 56, head_dim=16, vocab=331) | model(True, 1e-6, plain(1000000.0)),
        ablate={"q_norm weight": {"one": "q_norm.weight"}, "k_norm weight": {"one": "k_norm.weight"}},
    ),
    Spec(
        "qwen3-untied",
        "qwen3",
        shape(32, 4, 1, 44, head_dim=12, vocab=321) | model(False, 1e-2, plain(50000.0)),
        ablate={"rms_norm_eps": {"rms_norm_eps": 1e-6}},
    ),
]


# --- the model and what it must give


def make_config(spec: Spec, **changes: object) -> transformers.PreTrainedConfig:
    values = copy.deepcopy(spec.config | changes)
    config = transformers.AutoConfig.for_model(spec.arch, **values)
    assert config.rope_parameters["rope_theta"] == values["rope_parameters"]["rope_theta"]
    return config


def empty_model(config: transformers.PreTrainedConfig) -> torch.nn.Module:
    made = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager", dtype=torch.float32)
    return made.float().eval()


def random_model(spec: Spec) -> torch.nn.Module:
    """Weights large enough that every part of the model shows in the output."""
    rng = np.random.default_rng([SEED, zlib.crc32(spec.name.encode())])
    built = empty_model(make_config(spec))
    for name, parameter in built.named_parameters():
        if name.endswith("norm.weight"):
            value = rng.uniform(0.8, 1.2, parameter.shape)
        elif name.endswith(".bias") or "embed_tokens" in name or "lm_head" in name:
            value = rng.standard_normal(parameter.shape) * 0.3
        else:
            value = rng.standard_normal(parameter.shape) * spec.matrix_std
        parameter.data = torch.from_numpy(value.astype(np.float32)).to(spec.store).float()
    return built


@torch.no_grad()
def logprobs(built: torch.nn.Module, tokens: list[int]) -> np.ndarray:
    assert built.config._attn_implementation == "eager" and built.dtype == torch.float32
    logits = built(input_ids=torch.tensor([tokens]), use_cache=False).logits[0]
    return torch.log_softmax(logits.float(), dim=-1).numpy()


def choose_tokens(spec: Spec) -> list[int]:
    """Random ids; the first and the last id of the vocabulary occur, and one id occurs twice."""
    rng = np.random.default_rng([SEED, 2, zlib.crc32(spec.name.encode())])
    vocab = spec.config["vocab_size"]
    tokens = rng.integers(0, vocab, POSITIONS)
    tokens[0], tokens[7], tokens[23] = 0, vocab - 1, tokens[11]
    return [int(t) for t in tokens]


def without_feature(spec: Spec, built: torch.nn.Module, change: dict) -> torch.nn.Module:
    if "zero" in change or "one" in change:
        suffix, fill = (change["zero"], 0.0) if "zero" in change else (change["one"], 1.0)
        other = copy.deepcopy(built)
        hit = [p for n, p in other.named_parameters() if n.endswith(suffix)]
        assert hit, suffix
        for parameter in hit:
            parameter.data.fill_(fill)
        return other
    other = empty_model(make_config(spec, **change))
    missing = other.load_state_dict(built.state_dict(), strict=False)
    assert not missing.missing_keys and not missing.unexpected_keys
    return other


# --- the shared tokenizer


def train_tokenizer() -> transformers.PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=TOKENIZER_SIZE,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT.splitlines(keepends=True), trainer)
    assert tokenizer.get_vocab_size() == TOKENIZER_SIZE and tokenizer.token_to_id("<|endoftext|>") == 0
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        model_max_length=128,
        clean_up_tokenization_spaces=False,
    )


# --- the folder


def to_old_config(config: dict) -> dict:
    """config.json in transformers 4's style: top-level rope_theta, rope_scaling, torch_dtype, fewer fields."""
    out = {k: v for k, v in config.items() if k not in ("rope_parameters", "dtype", "layer_types")}
    rope = dict(config["rope_parameters"])
    out["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    if kind == "default":
        out["rope_scaling"] = None
    elif kind == "linear":
        out["rope_scaling"] = {"type": kind, **rope}
    else:
        out["rope_scaling"] = {**rope, "rope_type": kind}
    out["torch_dtype"] = config["dtype"]
    out["transformers_version"] = "4.40.1"
    if config["model_type"] == "llama":
        out.pop("head_dim")
    if config["model_type"] == "qwen2":  # as released: a window is given, and use_sliding_window turns it off
        assert config["use_sliding_window"] is False
        out["sliding_window"] = 8
        out["max_window_layers"] = 0
    return dict(sorted(out.items()))


def write_folder(
    spec: Spec, built: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerFast, to: pathlib.Path
) -> None:
    stored = copy.deepcopy(built).to(spec.store)
    stored.config.dtype = spec.store
    total = sum(p.numel() * p.element_size() for p in stored.parameters())
    limit = total if spec.shards == 1 else int(total / spec.shards * 1.25)
    stored.save_pretrained(to, max_shard_size=limit)
    (to / "generation_config.json").unlink(missing_ok=True)
    for path in to.iterdir():
        path.chmod(0o644)
    assert len(list(to.glob("*.safetensors"))) == spec.shards
    assert (to / "model.safetensors.index.json").exists() == (spec.shards > 1)
    tokenizer.save_pretrained(to)
    if spec.folder_style == "old":
        path = to / "config.json"
        path.write_text(json.dumps(to_old_config(json.loads(path.read_text())), indent=2) + "\n")
        path = to / "tokenizer.json"
        text = json.loads(path.read_text())
        text["model"]["merges"] = [" ".join(pair) for pair in text["model"]["merges"]]
        path.write_text(json.dumps(text, indent=2, ensure_ascii=False))
        path = to / "tokenizer_config.json"
        text = json.loads(path.read_text()) | {"tokenizer_class": "PreTrainedTokenizerFast"}
        del text["backend"]
        path.write_text(json.dumps(text, indent=2) + "\n")
    names = {p.name for p in to.iterdir() if p.suffix != ".safetensors" and "index" not in p.name}
    assert names == {"config.json", "tokenizer.json", "tokenizer_config.json"}, names


# --- the GGUF file


def interleave(x: torch.Tensor, heads: int) -> torch.Tensor:
    """Reorder the rows of each head from (first halves, second halves) to pair after pair, as arch llama wants."""
    return x.unflatten(0, (heads, 2, -1)).transpose(1, 2).flatten(0, 2)


def rope_factors(rope: dict, head_dim: int) -> list[float]:
    """What each rotary frequency is divided by under llama3 scaling, in the steps llama.cpp's converter takes."""
    low_wavelength = rope["original_max_position_embeddings"] / rope["low_freq_factor"]
    high_wavelength = rope["original_max_position_embeddings"] / rope["high_freq_factor"]
    factors = []
    for frequency in 1.0 / (rope["rope_theta"] ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim)):
        wavelength = 2 * math.pi / frequency
        if wavelength < high_wavelength:
            factors.append(1.0)
        elif wavelength > low_wavelength:
            factors.append(rope["factor"])
        else:
            position = rope["original_max_position_embeddings"] / wavelength - rope["low_freq_factor"]
            smooth = position / (rope["high_freq_factor"] - rope["low_freq_factor"])
            factors.append(float(1 / ((1 - smooth) / rope["factor"] + smooth)))
    middle = [f for f in factors if 1.0 < f < rope["factor"]]
    assert middle and 1.0 in factors and rope["factor"] in factors, factors
    return factors


def gguf_tensors(spec: Spec, built: torch.nn.Module) -> dict[str, torch.Tensor]:
    config = built.config
    arch = gguf.MODEL_ARCH.LLAMA if spec.arch in ("llama", "mistral") else gguf.MODEL_ARCH[spec.arch.upper()]
    names = gguf.get_tensor_name_map(arch, config.num_hidden_layers)
    out = {}
    if config.rope_parameters["rope_type"] == "llama3":
        head_dim = getattr(config, "head_dim", config.hidden_size // config.num_attention_heads)
        out["rope_freqs.weight"] = torch.tensor(rope_factors(config.rope_parameters, head_dim))
    for name, parameter in built.named_parameters():  # a tied lm_head is listed once, as the embedding
        value = parameter.detach()
        if arch == gguf.MODEL_ARCH.LLAMA and ".q_proj." in name:
            value = interleave(value, config.num_attention_heads)
        if arch == gguf.MODEL_ARCH.LLAMA and ".k_proj." in name:
            value = interleave(value, config.num_key_value_heads)
        stem, kind = name.rsplit(".", 1)
        out[f"{names.get_name(stem)}.{kind}"] = value
    return out


def write_gguf(
    spec: Spec, built: torch.nn.Module, tokenizer: transformers.PreTrainedTokenizerFast, to: pathlib.Path
) -> dict[str, torch.Tensor]:
    config = built.config
    is_llama = spec.arch in ("llama", "mistral")
    kind, file_type = {
        torch.float32: (gguf.GGMLQuantizationType.F32, gguf.LlamaFileType.ALL_F32),
        torch.float16: (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
        torch.bfloat16: (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
    }[spec.store]
    default_head = config.hidden_size // config.num_attention_heads
    head_dim = getattr(config, "head_dim", default_head)
    rope = config.rope_parameters

    w = gguf.GGUFWriter(str(to), "llama" if is_llama else spec.arch)
    w.add_type(gguf.GGUFType.MODEL)
    w.add_name(spec.name)
    w.add_block_count(config.num_hidden_layers)
    w.add_context_length(config.max_position_embeddings)
    w.add_embedding_length(config.hidden_size)
    w.add_feed_forward_length(config.intermediate_size)
    w.add_head_count(config.num_attention_heads)
    w.add_head_count_kv(config.num_key_value_heads)
    w.add_rope_freq_base(rope["rope_theta"])
    w.add_layer_norm_rms_eps(config.rms_norm_eps)
    if head_dim != default_head or spec.gguf_head_dim:
        w.add_key_length(head_dim)
        w.add_value_length(head_dim)
    w.add_file_type(file_type)
    if is_llama:
        w.add_vocab_size(config.vocab_size)
        w.add_rope_dimension_count(head_dim)
    if rope["rope_type"] == "linear":
        w.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        w.add_rope_scaling_factor(rope["factor"])

    text = json.loads(tokenizer.backend_tokenizer.to_str())
    tokens = [f"[PAD{i}]" for i in range(config.vocab_size)]
    types = [gguf.TokenType.UNUSED] * config.vocab_size
    for token, i in text["model"]["vocab"].items():
        tokens[i], types[i] = token, gguf.TokenType.NORMAL
    for added in text["added_tokens"]:
        tokens[added["id"]], types[added["id"]] = added["content"], gguf.TokenType.CONTROL
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    w.add_token_list(tokens)
    w.add_token_types(types)
    w.add_token_merges([" ".join(pair) for pair in text["model"]["merges"]])
    w.add_bos_token_id(0)
    w.add_eos_token_id(0)
    w.add_add_bos_token(False)
    w.add_quantization_version(gguf.GGML_QUANT_VERSION)

    tensors = gguf_tensors(spec, built)
    for name, value in tensors.items():
        as_kind = kind if value.ndim > 1 else gguf.GGMLQuantizationType.F32
        array = value.contiguous().numpy()
        w.add_tensor(name, gguf.quantize(array, as_kind), raw_dtype=as_kind)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()
    return tensors


def check_gguf(path: pathlib.Path, expected: dict[str, torch.Tensor], store: torch.dtype) -> tuple[dict, dict]:
    """Read the file back; every tensor must be there, with its shape, its type and its values."""
    reader = gguf.GGUFReader(path)
    fields = {k: f.contents() for k, f in reader.fields.items() if not k.startswith("GGUF.")}
    found = {}
    for t in reader.tensors:
        assert t.name not in found
        found[t.name] = gguf.dequantize(t.data, t.tensor_type).reshape([int(n) for n in reversed(t.shape)])
        wanted = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}[store]
        assert t.tensor_type.name == (wanted if len(t.shape) > 1 else "F32"), (t.name, t.tensor_type)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].shape == tuple(value.shape) and np.array_equal(found[name], value.numpy()), name
    return fields, found


# --- an independent forward pass over the GGUF file, in float64


def forward(fields: dict, tensors: dict, tokens: list[int], window: int | None) -> np.ndarray:
    arch = fields["general.architecture"]
    heads, kv_heads = fields[f"{arch}.attention.head_count"], fields[f"{arch}.attention.head_count_kv"]
    size = fields.get(f"{arch}.attention.key_length", fields[f"{arch}.embedding_length"] // heads)
    eps = fields[f"{arch}.attention.layer_norm_rms_epsilon"]
    w = {k: v.astype(np.float64) for k, v in tensors.items()}
    n = len(tokens)

    frequency = float(fields[f"{arch}.rope.freq_base"]) ** (-np.arange(0, size, 2) / size)
    frequency = frequency / w.get("rope_freqs.weight", 1.0)
    if fields.get(f"{arch}.rope.scaling.type") == "linear":
        frequency = frequency / fields[f"{arch}.rope.scaling.factor"]
    angle = np.arange(n)[:, None, None] * frequency
    cos, sin = np.cos(angle), np.sin(angle)

    def norm(x: np.ndarray, name: str) -> np.ndarray:
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w[f"{name}.weight"]

    def apply(x: np.ndarray, name: str) -> np.ndarray:
        return x @ w[f"{name}.weight"].T + w.get(f"{name}.bias", 0.0)

    def rotate(x: np.ndarray) -> np.ndarray:
        first = slice(0, None, 2) if arch == "llama" else slice(0, size // 2)
        second = slice(1, None, 2) if arch == "llama" else slice(size // 2, None)
        a, b = x[..., first], x[..., second]
        out = np.empty_like(x)
        out[..., first], out[..., second] = a * cos - b * sin, a * sin + b * cos
        return out

    age = np.arange(n)[:, None] - np.arange(n)[None, :]
    visible = (age >= 0) & (age < (window or n))
    x = w["token_embd.weight"][tokens]
    for i in range(fields[f"{arch}.block_count"]):
        b = f"blk.{i}."
        h = norm(x, b + "attn_norm")
        q = apply(h, b + "attn_q").reshape(n, heads, size)
        k = apply(h, b + "attn_k").reshape(n, kv_heads, size)
        v = apply(h, b + "attn_v").reshape(n, kv_heads, size)
        if arch == "qwen3":
            q, k = norm(q, b + "attn_q_norm"), norm(k, b + "attn_k_norm")
        q, k = rotate(q), rotate(k)
        mixed = np.empty((n, heads, size))
        for head in range(heads):
            group = head // (heads // kv_heads)
            score = np.where(visible, q[:, head] @ k[:, group].T / np.sqrt(size), -np.inf)
            share = np.exp(score - score.max(-1, keepdims=True))
            mixed[:, head] = share / share.sum(-1, keepdims=True) @ v[:, group]
        x = x + apply(mixed.reshape(n, -1), b + "attn_output")
        h = norm(x, b + "ffn_norm")
        gate = apply(h, b + "ffn_gate")
        x = x + apply(gate / (1 + np.exp(-gate)) * apply(h, b + "ffn_up"), b + "ffn_down")
    output = "output" if "output.weight" in w else "token_embd"
    logits = apply(norm(x, "output_norm"), output)
    peak = logits.max(-1, keepdims=True)
    return logits - peak - np.log(np.exp(logits - peak).sum(-1, keepdims=True))


# --- all of it


def make(spec: Spec, tokenizer: transformers.PreTrainedTokenizerFast, out: pathlib.Path, scratch: pathlib.Path) -> dict:
    folder = out / spec.name
    if folder.exists():
        shutil.rmtree(folder)
    (folder / "hf").mkdir(parents=True)
    built = random_model(spec)
    tokens = choose_tokens(spec)
    golden = logprobs(built, tokens)
    spread = float(np.median(golden.max(-1) - golden.min(-1)))
    assert golden.shape == (POSITIONS, spec.config["vocab_size"]) and np.isfinite(golden).all() and spread > 5

    write_folder(spec, built, tokenizer, folder / "hf")
    again = transformers.AutoModelForCausalLM.from_pretrained(
        folder / "hf", attn_implementation="eager", dtype=torch.float32
    ).eval()
    assert np.array_equal(logprobs(again, tokens), golden), f"{spec.name}: the folder loads differently"
    # Not AutoTokenizer: for Qwen2 it puts that family's own word splitting in place of the file's.
    words = Tokenizer.from_file(str(folder / "hf" / "tokenizer.json"))
    assert all(words.encode(t).ids == tokenizer.encode(t) for t in SAMPLES)

    path = folder / "model.gguf" if spec.gguf else scratch / f"{spec.name}.gguf"
    fields, found = check_gguf(path, write_gguf(spec, built, tokenizer, path), spec.store)
    exact = forward(fields, found, tokens, spec.config.get("sliding_window"))
    error = float(np.abs(exact - golden).max())
    assert error < TOLERANCE / 10, f"{spec.name}: numpy and torch differ by {error}"

    rope = spec.config["rope_parameters"]
    ablations = {"rope_theta": {"rope_parameters": rope | {"rope_theta": rope["rope_theta"] * 2}}, **spec.ablate}
    without = {}
    for label, change in ablations.items():
        without[label] = float(np.abs(logprobs(without_feature(spec, built, change), tokens) - golden).max())
        assert without[label] > 50 * TOLERANCE, f"{spec.name}: {label} hardly matters ({without[label]})"

    (folder / "golden.f32").write_bytes(golden.astype("<f4").tobytes())
    facts = {
        "name": spec.name,
        "tokens": tokens,
        "vocab": spec.config["vocab_size"],
        "logprobs_file": "golden.f32",
        "logprobs_shape": list(golden.shape),
        "tolerance": TOLERANCE,
        "largest_error_when_wrong": {k: round(v, 3) for k, v in without.items()},
    }
    (folder / "golden.json").write_text(json.dumps(facts, indent=1) + "\n")
    size = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())
    print(f"{spec.name:15} {size / 1024:6.0f} KiB  spread {spread:5.1f}  error {error:.1e}  wrong {without}")
    return {
        "name": spec.name,
        "architecture": fields["general.architecture"] if spec.gguf else spec.arch,
        "gguf": spec.gguf,
        "folder": True,
        "weights": str(spec.store).removeprefix("torch."),
        "tolerance": TOLERANCE,
    }


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = train_tokenizer()
    samples = [{"text": t, "ids": tokenizer.encode(t, add_special_tokens=False)} for t in SAMPLES]
    for sample in samples:
        assert tokenizer.decode(sample["ids"]) == sample["text"], sample
    (out / "tokenizer_samples.json").write_text(json.dumps(samples, indent=1) + "\n")
    with tempfile.TemporaryDirectory() as scratch:
        entries = [make(spec, tokenizer, out, pathlib.Path(scratch)) for spec in SPECS]
    (out / "index.json").write_text(json.dumps(entries, indent=1) + "\n")


if __name__ == "__main__":
    main()
