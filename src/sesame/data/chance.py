"""Chance that is keyed, not drawn: every random choice is a pure function of what it is for.

A choice depends on (seed, epoch, example key, position, purpose) and on nothing else, so a mask is the same
whichever batch, process or machine the example lands in, and a resumed run needs no generator state.
The mixer is SplitMix64's finaliser (Steele, Lea & Flood 2014), applied once per word of the key.
"""

import hashlib

import numpy as np
from jaxtyping import Float, Int, UInt64

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_M1 = np.uint64(0xBF58476D1CE4E5B9)
_M2 = np.uint64(0x94D049BB133111EB)
_MASK = (1 << 64) - 1


def _mix(x: np.ndarray | np.uint64) -> np.ndarray | np.uint64:
    x = (x ^ (x >> np.uint64(30))) * _M1
    x = (x ^ (x >> np.uint64(27))) * _M2
    return x ^ (x >> np.uint64(31))


def purpose_key(purpose: str) -> int:
    """64 bits that stand for a purpose ("mask", "order", …)."""
    return int.from_bytes(hashlib.blake2b(purpose.encode(), digest_size=8).digest(), "little")


def bits(purpose: str, *words: int | np.ndarray) -> UInt64[np.ndarray, "*shape"]:
    """64 hashed bits for every element of the broadcast `words` (seed, epoch, key, position …)."""
    with np.errstate(over="ignore"):
        state = np.array(purpose_key(purpose), np.uint64)
        for word in words:
            part = np.uint64(word & _MASK) if isinstance(word, int) else np.asarray(word).astype(np.uint64)
            state = np.asarray(_mix((state ^ part) + _GOLDEN))  # numpy makes scalars of arrays without an axis
        return state


def uniform(purpose: str, *words: int | np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Uniform numbers in [0, 1), 53 bits each."""
    return np.asarray((bits(purpose, *words) >> np.uint64(11)) * 2.0**-53)


def integers(n: int | np.ndarray, purpose: str, *words: int | np.ndarray) -> Int[np.ndarray, "*shape"]:
    """Uniform integers in [0, n); `n` may be an array. The bias is below n / 2**53."""
    return np.asarray(np.minimum(np.floor(uniform(purpose, *words) * n), np.asarray(n) - 1)).astype(np.int64)


def normal(purpose: str, *words: int | np.ndarray) -> Float[np.ndarray, "*shape"]:
    """Standard normal numbers (Box & Muller 1958), one from two uniform ones."""
    radius = np.sqrt(-2.0 * np.log1p(-uniform(purpose, *words, 0)))
    return np.asarray(radius * np.cos(2.0 * np.pi * uniform(purpose, *words, 1)))


def seed_for(purpose: str, *words: int) -> int:
    """One non-negative 63-bit seed for a library's own generator (dropout: seed, step, micro-batch, rank)."""
    return int(bits(purpose, *words)) >> 1


def permute(index: np.ndarray, n: int, purpose: str, *words: int) -> Int[np.ndarray, "*shape"]:
    """Where `index` in [0, n) goes in a keyed permutation of n things, in constant memory.

    An eight-round balanced Feistel network over the next even power of two, walked along its cycles until the value
    falls below n (Black & Rogaway 2002): random access to a shuffle of any size.
    """
    half = max(1, ((max(n - 1, 1)).bit_length() + 1) // 2)
    low = np.uint64((1 << half) - 1)
    value = np.asarray(index).astype(np.uint64)
    todo = np.ones(value.shape, bool)
    while todo.any():
        left, right = value[todo] >> np.uint64(half), value[todo] & low
        for turn in range(8):
            left, right = right, left ^ (bits(purpose, *words, turn, right) & low)
        value[todo] = (left << np.uint64(half)) | right
        todo[todo] = value[todo] >= np.uint64(n)
    return value.astype(np.int64)
