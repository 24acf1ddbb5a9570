"""Labelled images of a folder, `<root>/<class>/<file>.{jpg,jpeg,png}`, read as `eqo eval --data` reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .check import Shape
from .errors import fault


def listing(root: Path, classes: int) -> list[tuple[Path, int]]:
    """Files and labels: subfolders in byte order of their names, then the files of each in byte order of theirs."""
    if not root.is_dir():
        raise fault(str(root), "images", "a folder of a subfolder for each class", "none", "Pass another folder.")
    folders = _sorted(entry for entry in root.iterdir() if entry.is_dir())
    if len(folders) != classes:
        shown = ", ".join(folder.name for folder in folders[:5])
        raise fault(str(root), "subfolders", f"{classes}, one a class", f"{len(folders)}: {shown}", "Pass another folder.")
    images = [
        (path, label)
        for label, folder in enumerate(folders)
        for path in _sorted(folder.iterdir())
        if path.suffix.lower() in (".jpg", ".jpeg", ".png") and path.is_file()
    ]
    if not images:
        raise fault(str(root), "images", "JPEG or PNG files", "none", "Pass another folder.")
    return images


def _sorted(entries: Any) -> list[Path]:
    return sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name.encode())


def read(paths: list[Path], shape: Shape) -> npt.NDArray[np.uint8]:
    """Pixels [N, 3, height, width]; other sizes are scaled and cut to a square network's, by Pillow."""
    return np.stack([_pixels(path, shape) for path in paths])


def _pixels(path: Path, shape: Shape) -> npt.NDArray[np.uint8]:
    from PIL import Image

    channels, height, width = shape
    if channels != 3:
        raise fault("node input", "channels", "3 for an evaluation of images", channels, "Call Engine.logits instead.")
    with Image.open(path) as file:
        image = file.convert("RGB")
    if height == width and image.size != (width, height):
        image = _fitted(image, height)
    if image.size != (width, height):
        raise fault(str(path), "size", f"{width} x {height} pixels", f"{image.width} x {image.height}", "Resize it first.")
    return np.asarray(image, np.uint8).transpose(2, 0, 1)


def _fitted(image: Any, side: int) -> Any:
    """The shorter side scaled to `side`, the longer one rounded down, and the square in the middle of that."""
    from PIL import Image

    width, height = (length * side // min(image.size) for length in image.size)
    # In two calls, because Pillow 13 takes the rows first for some shapes (datasets/src/resample.rs).
    for size in ((width, image.height), (width, height)):
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (_start(length, side) for length in image.size)
    return image.crop((left, top, left + side, top + side))


def _start(length: int, side: int) -> int:
    """Where the middle begins; between two pixels at the even one, as torchvision's CenterCrop has it."""
    return (length - side) // 2 + ((length - side) % 4 == 3)
