"""Known values of the request noise, from a Philox4x32-10 written here and the logarithm of the decimal module.

usage: make_noise_golden.py OUT.json

G(seed, sample, position, token) = -log(-log u), u = (the 64 bits w0:w1 + 1/2) / 2^64, where w0...w3 is
Philox4x32-10 of the counter (position low, token, sample, position high) under the key (seed low, seed high).
Made with Python 3.11; integers and decimals of 40 digits leave nothing to other versions.
"""
import json
import random
import sys
from decimal import Decimal, getcontext

getcontext().prec = 40
MASK = (1 << 32) - 1


def philox(counter, key):
    c, k = list(counter), list(key)
    for _ in range(10):
        a, b = c[0] * 0xD2511F53, c[2] * 0xCD9E8D57
        c = [(b >> 32) ^ c[1] ^ k[0], b & MASK, (a >> 32) ^ c[3] ^ k[1], a & MASK]
        k = [(k[0] + 0x9E3779B9) & MASK, (k[1] + 0xBB67AE85) & MASK]
    return c


def gumbel(seed, sample, position, token):
    words = philox(
        (position & MASK, token & MASK, sample, position >> 32), (seed & MASK, seed >> 32))
    bits = words[0] << 32 | words[1]
    u = (Decimal(bits) + Decimal("0.5")) / Decimal(1 << 64)
    return -((-u.ln()).ln())


def main():
    # The known answers of the authors of the generator (Random123, kat_vectors).
    assert philox((0, 0, 0, 0), (0, 0)) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox((MASK,) * 4, (MASK,) * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    rng = random.Random(20240717)
    cases = [(0, 0, 0, 0), (1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1),
             ((1 << 64) - 2, MASK, (1 << 40) + 5, (1 << 31) - 1)]
    for _ in range(58):
        cases.append((rng.getrandbits(64), rng.choice([0, 0, 3, rng.getrandbits(32)]),
                      rng.choice([rng.randrange(4096), rng.getrandbits(40)]), rng.randrange(1 << 18)))
    rows = [{"seed": str(s), "sample": n, "position": p, "token": t, "gumbel": float(gumbel(s, n, p, t))}
            for s, n, p, t in cases]
    with open(sys.argv[1], "w") as out:
        out.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


main()
