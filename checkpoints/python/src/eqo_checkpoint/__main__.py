"""`python -m eqo_checkpoint`: what a checkpoint is, its logits, and its accuracy on a folder of images."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any, Callable

import numpy as np

from . import Checkpoint, CheckpointError, Engine, load
from .check import activation_bits
from .graph import Conv
from .images import listing, read

# Images decoded and computed at once.
AT_ONCE = 64

Logits = Callable[[Any], Any]


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; results go to stdout, errors and progress to stderr. Exit codes: 0 done, 3 data or checkpoint."""
    args = _parser().parse_args(arguments)
    try:
        print(args.run(args))
    except (CheckpointError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 3
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m eqo_checkpoint", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    inspect = commands.add_parser("inspect", help="layers: algorithm, weights, bits, rings")
    evaluate = commands.add_parser("eval", help="accuracy on a folder with a subfolder for each class")
    logits = commands.add_parser("logits", help="integer logits of a .npy file of bytes [N, channels, height, width], as JSON")
    for command, run in ((inspect, _inspect), (evaluate, _eval), (logits, _logits)):
        command.add_argument("file", type=Path, help="a checkpoint, model.safetensors")
        command.set_defaults(run=run)
    for command in (inspect, evaluate):
        command.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    for command in (evaluate, logits):
        command.add_argument("--torch", action="store_true", help="compute with the PyTorch module instead of NumPy")
        command.add_argument("--device", default="cpu", help="PyTorch's, such as cuda (default: cpu)")
    evaluate.add_argument("--images", type=Path, required=True, metavar="FOLDER", help="<class>/<file>.jpg, .jpeg or .png")
    logits.add_argument("images", type=Path, help="a .npy file")
    return parser


def _inspect(args: argparse.Namespace) -> str:
    checkpoint = load(args.file)
    layers = [_layer(checkpoint, index) for index in range(len(checkpoint.graph.nodes))]
    if args.json:
        classes, exponent = checkpoint.graph.classes, checkpoint.graph.logit_exponent
        known = {"model": checkpoint.graph.name, "classes": classes, "logit_exponent": exponent, "layers": layers}
        return json.dumps({**known, "dataset": checkpoint.metadata["dataset"], "accuracy": checkpoint.accuracy})
    return _table([list(layers[0]), *[list(map(_shown, layer.values())) for layer in layers]])


def _layer(checkpoint: Checkpoint, index: int) -> dict[str, Any]:
    node, conv = checkpoint.graph.nodes[index], None
    if isinstance(node.op, Conv):
        conv = node.op
    bits = conv and [len(conv.exponents(position)) for position in range(conv.positions)]
    return {
        "node": node.name,
        "operation": type(node.op).__name__,
        "algorithm": conv and conv.algorithm,
        "shape": list(checkpoint.shapes[index]),
        "weights": conv and checkpoint.layers[node.name].codes.size,
        "weight_bits": bits and sum(bits) / len(bits),
        "act_bits": activation_bits(checkpoint.graph, index),
        "ring_bits": conv and max(conv.ring_bits),
    }


def _eval(args: argparse.Namespace) -> str:
    checkpoint = load(args.file)
    compute, files = _compute(checkpoint, args), listing(args.images, len(checkpoint.graph.classes))
    correct, seconds = 0, 0.0
    for at in range(0, len(files), AT_ONCE):
        paths, labels = zip(*files[at : at + AT_ONCE])
        pixels = read(list(paths), checkpoint.shapes[0])
        start = time.perf_counter()
        found = compute(pixels)
        seconds += time.perf_counter() - start
        # The first of equal logits, as the Rust engine has it.
        correct += int((found.argmax(axis=1) == np.array(labels)).sum())
        print(f"{at + len(paths)} of {len(files)} images", file=sys.stderr)
    result = {
        "model": checkpoint.graph.name,
        "mode": "torch" if args.torch else "numpy",
        "images": len(files),
        "correct": correct,
        "accuracy": correct / len(files),
        "seconds": seconds,
    }
    if args.json:
        return json.dumps(result)
    shown = {**result, "accuracy": f"{100 * correct / len(files):.2f}%", "seconds": f"{seconds:.1f}"}
    return _table([list(shown), list(map(str, shown.values()))])


def _logits(args: argparse.Namespace) -> str:
    checkpoint = load(args.file)
    found = _compute(checkpoint, args)(np.load(args.images, allow_pickle=False))
    return json.dumps(found.tolist())


def _compute(checkpoint: Checkpoint, args: argparse.Namespace) -> Logits:
    if not args.torch:
        return Engine(checkpoint).logits
    import torch

    from .torch_module import EqoModule

    module = EqoModule(checkpoint).to(args.device)
    return lambda images: module(torch.from_numpy(images).to(args.device)).cpu().numpy()


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return "x".join(map(str, value))
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def _table(rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows)]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows)
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
