"""BLAKE3, vectorized over a message's chunks: the checksum of graph and weights without another dependency.

After the specification by O'Connor, Aumasson, Neves and Wilcox-O'Hearn (2020), section 2; hashing only, no keys.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint32]

CHUNK, BLOCK = 1024, 64
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
IV = np.array([0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32)
PERMUTATION = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8]
COLUMNS = [(0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15)]
DIAGONALS = [(0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14)]
# Chunks hashed at once: their words and states stay in the processor's cache.
BATCH = 1024


def hexdigest(data: bytes) -> str:
    """The 32-byte hash of `data`, in hexadecimal."""
    whole = max(len(data) - 1, 0) // CHUNK  # The last chunk, full or not, is hashed by itself.
    last = _chunks(data[whole * CHUNK :], whole, ROOT if whole == 0 else 0)
    batches = range(0, whole, BATCH)
    nodes = [_chunks(data[at * CHUNK : min(at + BATCH, whole) * CHUNK], at, 0) for at in batches]
    level = np.concatenate([*nodes, last], axis=1)
    while level.shape[1] > 1:
        level = _parents(level)
    return level[:, 0].astype("<u4").tobytes().hex()


def _chunks(data: bytes, counter: int, root: int) -> Words:
    """Chaining values [8, chunks] of whole chunks, or of one that may be shorter."""
    count = max(1, -(-len(data) // CHUNK))
    size = min(len(data), CHUNK)
    blocks = max(1, -(-size // BLOCK))
    padded = np.frombuffer(data.ljust(count * blocks * BLOCK, b"\0"), "<u4").astype(np.uint32)
    message = padded.reshape(count, blocks, 16)
    values = np.repeat(IV[:, None], count, axis=1)
    counters = np.arange(counter, counter + count, dtype=np.uint64)
    for block in range(blocks):
        flags = CHUNK_START if block == 0 else 0
        if block == blocks - 1:
            flags |= CHUNK_END | root
        length = min(BLOCK, size - block * BLOCK)
        values = _compress(values, message[:, block].T, counters, length, flags)
    return values


def _parents(level: Words) -> Words:
    """The next level of the tree; an odd node at the end moves up as it is."""
    pairs = level.shape[1] // 2
    flags = PARENT | (ROOT if level.shape[1] == 2 else 0)
    message = np.concatenate([level[:, 0 : 2 * pairs : 2], level[:, 1 : 2 * pairs : 2]])
    start = np.repeat(IV[:, None], pairs, axis=1)
    merged = _compress(start, message, np.zeros(pairs, np.uint64), BLOCK, flags)
    return np.concatenate([merged, level[:, 2 * pairs :]], axis=1)


def _compress(values: Words, message: Words, counters: npt.NDArray[np.uint64], length: int, flags: int) -> Words:
    """One block of each of many chunks: values [8, chunks], message [16, chunks]."""
    count = values.shape[1]
    low, high = counters.astype(np.uint32), (counters >> np.uint64(32)).astype(np.uint32)
    ends = [np.full(count, word, np.uint32) for word in (length, flags)]
    state = [*values, *np.repeat(IV[:4, None], count, axis=1), low, high, *ends]
    words = list(np.ascontiguousarray(message))
    for _ in range(7):
        for index, lanes in enumerate(COLUMNS + DIAGONALS):
            _quarter(state, lanes, words[2 * index], words[2 * index + 1])
        words = [words[index] for index in PERMUTATION]
    return np.stack([state[i] ^ state[i + 8] for i in range(8)])


def _quarter(state: list[Words], lanes: tuple[int, int, int, int], x: Words, y: Words) -> None:
    a, b, c, d = lanes
    for word, (right, left) in ((x, (16, 12)), (y, (8, 7))):
        state[a] = state[a] + state[b] + word
        state[d] = _rotated(state[d] ^ state[a], right)
        state[c] = state[c] + state[d]
        state[b] = _rotated(state[b] ^ state[c], left)


def _rotated(words: Words, by: int) -> Words:
    return (words >> np.uint32(by)) | (words << np.uint32(32 - by))
