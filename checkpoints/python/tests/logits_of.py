"""For the Rust test: prints, as JSON, the logits of every FOLDER/*.safetensors on the .npy of its name, by each backend there is."""

import importlib.util
import json
import sys
from pathlib import Path

import numpy as np

from eqo_checkpoint import Engine, load


def main(folder: Path) -> None:
    torch_found = importlib.util.find_spec("torch") is not None
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        checkpoint, images = load(path), np.load(path.with_suffix(".npy"))
        engine = Engine(checkpoint)
        found[path.stem] = {
            "numpy": engine.logits(images).tolist(),
            "torch": by_torch(checkpoint, images) if torch_found else None,
            "arithmetic": sorted({str(layer.weights.dtype) for layer in engine.products if layer}),
        }
    json.dump(found, sys.stdout)


def by_torch(checkpoint, images):
    import torch

    from eqo_checkpoint.torch_module import EqoModule

    return EqoModule(checkpoint)(torch.from_numpy(images)).tolist()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
