"""Recipes run as people run them: a command in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from PIL import Image

import mmkeras as mm

RECIPES = Path(__file__).parents[1] / "recipes"


def test_image_captioning_from_a_manifest(tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for i in range(8):
        Image.fromarray(random.integers(0, 255, (40, 48, 3), dtype="uint8")).save(
            tmp_path / f"{i}.jpg"
        )
        split = "train" if i < 6 else "test"
        rows.append({"image": f"{i}.jpg", "captions": [f"photo {i}", "a photo"], "split": split})
    (tmp_path / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, RECIPES / "image_captioning.py", "--data", "manifest"]
    command += ["--path", tmp_path / "photos.jsonl", "--out", tmp_path / "out", "--size", "tiny"]
    command += ["--image-size", "32", "--epochs", "1", "--batch-size", "4", "--decoder", "lstm"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "test split, 2 photos" in done.stdout
    assert "CIDEr-D" in done.stdout
    assert "verified, equal" in done.stdout
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    model = mm.load_model(tmp_path / "out" / "model.keras")
    assert len(model.infer({"image": [str(tmp_path / "0.jpg")]})["caption"]) == 1
