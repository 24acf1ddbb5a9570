import json
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, golden

from eqo_checkpoint import Engine, images, load
from eqo_checkpoint.__main__ import main

TINY = str(FIXTURES / "tiny-pools.safetensors")


def test_inspect_lists_every_node(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", TINY, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    nodes = load(TINY).graph.nodes
    assert [layer["node"] for layer in found["layers"]] == [node.name for node in nodes]
    assert main(["inspect", TINY]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(nodes) + 1


def test_logits_of_an_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pixels, logits = golden("tiny-pools", load(TINY).shapes[0])
    np.save(tmp_path / "images.npy", pixels)
    assert main(["logits", TINY, str(tmp_path / "images.npy")]) == 0
    assert json.loads(capsys.readouterr().out) == logits.tolist()


def test_eval_counts_what_a_folder_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow isn't installed: pip install 'eqo-checkpoint[images]'")
    checkpoint = load(TINY)
    classes, shape = len(checkpoint.graph.classes), checkpoint.shapes[0]
    pixels = np.random.default_rng(1).integers(0, 256, (12, *shape), dtype=np.uint8)
    best = Engine(checkpoint).logits(pixels).argmax(axis=1)
    for label in range(classes):
        (tmp_path / f"class{label}").mkdir()
    # Two of twelve go to the wrong class.
    for index, (values, label) in enumerate(zip(pixels, best)):
        folder = tmp_path / f"class{(label + (index < 2)) % classes}"
        image.fromarray(values.transpose(1, 2, 0)).save(folder / f"{index}.png")
    assert main(["eval", TINY, "--images", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [found["images"], found["correct"], found["mode"]] == [12, 10, "numpy"]
    (tmp_path / "one more").mkdir()
    assert main(["eval", TINY, "--images", str(tmp_path)]) == 3
    assert "subfolders" in capsys.readouterr().err


def test_larger_images_are_scaled_and_cut_in_the_middle(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image", reason="Pillow isn't installed: pip install 'eqo-checkpoint[images]'")
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 200
    image.fromarray(wide).save(tmp_path / "wide.png")
    found = images.read([tmp_path / "wide.png"], (3, 8, 8))
    assert found.shape == (1, 3, 8, 8) and (found == 200).all()


def test_a_missing_and_a_damaged_file_are_named_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "broken.safetensors").write_bytes(b"no checkpoint")
    for name in ("missing", "broken"):
        assert main(["inspect", str(tmp_path / f"{name}.safetensors")]) == 3
        assert f"{name}.safetensors" in capsys.readouterr().err
