"""Make the dequantisation fixtures: random blocks of every quantised type and the numbers they stand for.

usage: make_quant_golden.py OUT_DIR        (the repository keeps the output in Tests/ModelTests/Fixtures/quant)

For each type this writes TYPE.bin, the blocks, and TYPE.f32, the expected values as little-endian float32.
In the block types the non-scale bytes are balanced: there are 256 blocks, and each byte position runs through all 256
values, one per block, in its own random order. The float16 scales are finite and cover ordinary sizes, both
zeros, both signs, subnormals, the largest and the smallest, and uniformly random bit patterns. F16.bin holds
every finite half once, in order; BF16.bin holds a random sample of finite values and the corner cases.

Expected values come from gguf.dequantize. Output depends only on the seed below.
Run with Python 3.11, numpy 2.4.6, gguf 0.19.0.
"""

import pathlib
import sys

import gguf
import numpy as np
from gguf import GGMLQuantizationType as Type

SEED = 20240607
BLOCKS = 256

# Byte offset of each float16 scale inside a block.
SCALES = {
    Type.Q4_0: [0],
    Type.Q4_1: [0, 2],
    Type.Q5_0: [0],
    Type.Q5_1: [0, 2],
    Type.Q8_0: [0],
    Type.Q2_K: [80, 82],
    Type.Q3_K: [108],
    Type.Q4_K: [0, 2],
    Type.Q5_K: [0, 2],
    Type.Q6_K: [208],
    Type.IQ4_NL: [0],
    Type.IQ4_XS: [0],
}

# +0, -0, smallest and largest subnormals, smallest normals, largest finite values, +1, -1.
HALF_CORNERS = [0x0000, 0x8000, 0x0001, 0x8001, 0x03FF, 0x83FF, 0x0400, 0x8400, 0x7BFF, 0xFBFF, 0x3C00, 0xBC00]


def random_halves(rng: np.random.Generator, count: int) -> np.ndarray:
    """Finite float16 bit patterns: corners, subnormals, any bits, and mostly the sizes real models have."""
    n_subnormal, n_any = count // 8, count // 4
    sign = rng.integers(0, 2, n_subnormal, dtype=np.uint16) << 15
    subnormal = rng.integers(1, 0x400, n_subnormal, dtype=np.uint16) | sign
    anything = rng.integers(0, 0x7C00, n_any, dtype=np.uint16) | (rng.integers(0, 2, n_any, dtype=np.uint16) << 15)
    n_usual = count - n_subnormal - n_any - len(HALF_CORNERS)
    usual = (rng.standard_normal(n_usual) * 0.02).astype(np.float16).view(np.uint16)
    bits = np.concatenate([np.array(HALF_CORNERS, np.uint16), subnormal, anything, usual])
    assert np.isfinite(bits.view(np.float16)).all()
    return rng.permutation(bits)


def random_blocks(rng: np.random.Generator, kind: Type) -> np.ndarray:
    size = gguf.GGML_QUANT_SIZES[kind][1]
    blocks = np.stack([rng.permutation(256).astype(np.uint8) for _ in range(size)], axis=1)
    assert blocks.shape == (BLOCKS, size)
    for at in SCALES[kind]:
        blocks[:, at : at + 2] = random_halves(rng, BLOCKS).astype("<u2").view(np.uint8).reshape(BLOCKS, 2)
    return blocks


def all_halves() -> np.ndarray:
    bits = np.arange(65536, dtype=np.uint32).astype(np.uint16)
    return bits[np.isfinite(bits.view(np.float16))]


def random_bfloats(rng: np.random.Generator, count: int) -> np.ndarray:
    corners = np.array([0x0000, 0x8000, 0x0001, 0x8001, 0x007F, 0x0080, 0x7F7F, 0xFF7F, 0x3F80, 0xBF80], np.uint16)
    bits = rng.integers(0, 0x7F80, count - len(corners), dtype=np.uint16)
    bits |= rng.integers(0, 2, len(bits), dtype=np.uint16) << 15
    return np.concatenate([corners, bits])


def main() -> None:
    out = pathlib.Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    packed = {kind: random_blocks(np.random.default_rng([SEED, int(kind)]), kind) for kind in SCALES}
    packed[Type.F16] = all_halves().astype("<u2").view(np.uint8)
    bfloats = random_bfloats(np.random.default_rng([SEED, int(Type.BF16)]), 8192)
    packed[Type.BF16] = bfloats.astype("<u2").view(np.uint8)
    for kind, raw in packed.items():
        per_block, size = gguf.GGML_QUANT_SIZES[kind]
        values = gguf.dequantize(raw, kind).reshape(-1)
        assert values.dtype == np.float32 and np.isfinite(values).all(), kind.name
        assert values.size == raw.size // size * per_block, kind.name
        (out / f"{kind.name}.bin").write_bytes(raw.tobytes())
        (out / f"{kind.name}.f32").write_bytes(values.astype("<f4").tobytes())
        print(f"{kind.name:7} {raw.size // size:6} blocks of {size:3} bytes -> {values.size:6} values")


if __name__ == "__main__":
    main()
