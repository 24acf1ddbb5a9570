"""Integer logits of an EQO checkpoint with NumPy and safetensors only: python3 eqo_reader.py model.safetensors images.npy

images.npy holds unsigned bytes, [images, channels, height, width]. Prints one JSON list of logits an image.
It computes in plain int64, without rings: where a ring is proven, both give the same integers.
"""
import json
import sys

import numpy as np
from safetensors import safe_open

TRANSFORMS = {  # algorithm: (B^T, A^T, stride)
    "f2x2": ([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]], [[1, 1, 1, 0], [0, 1, -1, -1]], 1),
    "f4x4": (
        [[4, 0, -5, 0, 1, 0], [0, -4, -4, 1, 1, 0], [0, 4, -4, -1, 1, 0]]
        + [[0, -2, -1, 2, 1, 0], [0, 2, -1, -2, 1, 0], [0, 4, 0, -5, 0, 1]],
        [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]],
        1,
    ),
    "p2x2": (
        [[1, 0, -1, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 0, -1], [0, 1, 0, 0, 0], [0, 0, 0, 1, 0]],
        [[1, 1, 0, 1, 0], [0, 1, -1, 0, 1]],
        2,
    ),
}


def load(path):
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata()
        assert metadata["format"] == "eqo" and metadata["version"] == "1", "not an EQO checkpoint of version 1"
        return json.loads(metadata["graph"]), {name: file.get_tensor(name) for name in file.keys()}


def values(codes, conv):
    """Codes [positions, out, in] to integer weights: bit i of a position counts 2^k_i, the top bit negatively; no bits, 0."""
    lists = conv["weight_exponents"]
    lists = lists if len(lists) == len(codes) else lists * len(codes)
    offset = conv.get("weight_offset", 0)
    weights = np.zeros(codes.shape, np.int64)
    for position, exponents in enumerate(lists):
        if not exponents:
            continue
        bits = [(codes[position].astype(np.int64) >> i) & 1 for i in range(len(exponents))]
        worth = sum(bit << k for bit, k in zip(bits, exponents)) - (bits[-1] << (exponents[-1] + 1))
        weights[position] = worth + offset
    shifts = np.broadcast_to(np.array(conv["tap_shifts"], np.int64), (len(codes), codes.shape[1]))
    return weights << shifts[:, :, None]


def padded(x, conv, extra):
    pad = conv["padding"]
    return np.pad(x, ((0, 0), (pad, pad + extra), (pad, pad + extra)))


def direct(x, weights, conv, size):
    kernel, stride, (height, width) = conv["kernel"], conv["stride"], size
    x, total = padded(x, conv, 0), 0
    for i, j in np.ndindex(kernel, kernel):
        window = x[:, i : i + stride * height : stride, j : j + stride * width : stride][:, :height, :width]
        total = total + np.einsum("oi,ihw->ohw", weights[i * kernel + j], window)
    return total


def winograd(x, weights, conv, size):
    assert conv["algorithm"] in TRANSFORMS, f"unknown algorithm {conv['algorithm']}: use a newer reader"
    bt, at, stride = (np.array(part) for part in TRANSFORMS[conv["algorithm"]])
    m, t = at.shape
    step = m * stride
    rows, cols = -(-size[0] // m), -(-size[1] // m)
    x = padded(x, conv, t)
    corners = [[(r * step, c * step) for c in range(cols)] for r in range(rows)]
    tiles = np.array([[x[:, y : y + t, x0 : x0 + t] for y, x0 in row] for row in corners])
    taps = np.einsum("ai,bj,rcnij->abrcn", bt, bt, tiles)
    products = np.einsum("abon,abrcn->abrco", weights.reshape(t, t, *weights.shape[1:]), taps)
    outputs = np.einsum("pa,qb,abrco->orpcq", at, at, products)
    return outputs.reshape(-1, rows * m, cols * m)[:, : size[0], : size[1]]


def convolve(x, conv, codes, bias, residual):
    size = [(side + 2 * conv["padding"] - conv["kernel"]) // conv["stride"] + 1 for side in x.shape[1:]]
    multiply = direct if conv["algorithm"] == "direct" else winograd
    total = multiply(x, values(codes, conv), conv, size) + bias[:, None, None]
    if residual is not None:
        shortcut = conv["shortcut"]
        added = residual[:, :: shortcut["stride"], :: shortcut["stride"]]
        first = shortcut["channel_offset"]
        shifts = np.array(shortcut["shifts"])[first : first + len(added), None, None]
        total[first : first + len(added)] += added << shifts
    if conv["output"] == "accumulator":
        return total
    bits, shift = conv["output"]["activation"]["bits"], np.array(conv["output"]["activation"]["shifts"])[:, None, None]
    return np.clip((total + (1 << (shift - 1))) >> shift, 0, (1 << bits) - 1)


def max_pool(x, pool):
    kernel, stride = pool["kernel"], pool["stride"]
    windows = np.lib.stride_tricks.sliding_window_view(padded(x, pool, 0), (kernel, kernel), axis=(1, 2))
    return windows[:, ::stride, ::stride].max(axis=(3, 4))


def logits(graph, tensors, image):
    outputs = []
    for node in graph["nodes"]:
        ((kind, op),) = node["op"].items()
        if kind == "input":
            outputs.append(image.astype(np.int64) - np.array(op["offsets"])[:, None, None])
        elif kind == "max_pool":
            outputs.append(max_pool(outputs[op["input"]], op))
        elif kind == "sum_pool":
            outputs.append(outputs[op["input"]].sum(axis=(1, 2), keepdims=True))
        else:
            codes = tensors[node["name"] + (".w" if op["algorithm"] == "direct" else ".u")]
            residual = outputs[op["shortcut"]["input"]] if "shortcut" in op else None
            outputs.append(convolve(outputs[op["input"]], op, codes, tensors[node["name"] + ".bias"], residual))
    return outputs[-1].ravel().tolist()


if __name__ == "__main__":
    graph, tensors = load(sys.argv[1])
    print(json.dumps([logits(graph, tensors, image) for image in np.load(sys.argv[2])]))
