"""Recipes run as people run them: a command in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import mmkeras as mm

RECIPES = Path(__file__).parents[1] / "recipes"
AN4 = RECIPES.parents[1] / "shared" / "data" / "an4" / "flac" / "an4_clstk" / "fash"


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


def test_image_text_retrieval_from_a_manifest(tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for i in range(7):
        Image.fromarray(random.integers(0, 255, (40, 48, 3), dtype="uint8")).save(
            tmp_path / f"{i}.jpg"
        )
        split = "train" if i < 4 else "test"
        rows.append({"image": f"{i}.jpg", "captions": [f"photo {i}", "a photo"], "split": split})
    (tmp_path / "photos.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, RECIPES / "image_text_retrieval.py", "--data", "manifest"]
    command += ["--path", tmp_path / "photos.jsonl", "--out", tmp_path / "out", "--size", "tiny"]
    names = [f"{i}.jpg" for i in range(7)]
    np.savez(tmp_path / "features.npz", names=names, features=random.normal(size=(7, 5)))
    command += ["--features", tmp_path / "features.npz", "--text-encoder", "bag"]
    command += ["--epochs", "1", "--batch-size", "4"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "test split, 3 photos" in done.stdout
    assert "text to image" in done.stdout
    assert "verified, equal" in done.stdout
    for name in ("searches.png", "similarities.png"):
        assert (tmp_path / "out" / name).stat().st_size > 1000
    model = mm.load_model(tmp_path / "out" / "model.keras")
    photos = mm.Index.load(tmp_path / "out" / "photos.npz", model)
    assert len(photos.search("caption", ["photo 5"])[0]) == 3


def test_speech_to_text_from_a_manifest(tmp_path):
    rows = []
    for i in range(8):
        sound = mm.speak(["red", "blue"][i % 2], seed=i, synthesizer="tones")
        (tmp_path / f"{i}.wav").write_bytes(sound)
        rows.append({"audio": f"{i}.wav", "text": ["red", "blue"][i % 2], "speaker": f"s{i // 2}"})
    (tmp_path / "takes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    command = [sys.executable, RECIPES / "speech_to_text.py", "--data", "manifest"]
    command += ["--path", tmp_path / "takes.jsonl", "--out", tmp_path / "out", "--hold-out", "s3"]
    command += ["--encoder", "conv_transformer", "--epochs", "1", "--language-order", "2"]
    command += ["--neural", "tiny", "--neural-epochs", "1", "--hot-words", "blue"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Held out: s3" in done.stdout
    assert "2 held-out recordings, and hot words" in done.stdout
    table = done.stdout.split("What each adds:")[1].split("2 utterances")[0]
    rows = ["as it is", "beam 16", "and a word 2-gram", "or a neural language model"]
    for row in [*rows, "and hot words"]:
        assert f"\n{row} " in table
    assert "WER" in done.stdout
    assert "verified, equal" in done.stdout
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    model = mm.load_model(tmp_path / "out" / "model.keras")
    heard = model.infer({"audio": [str(tmp_path / "0.wav")]}, beam_width=4)
    assert len(heard["transcript"]) == 1


def run(name, *options):
    command = [sys.executable, RECIPES / f"{name}.py", *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
def test_spoken_digits_and_words_cut_out_of_other_recordings(tmp_path):
    if not AN4.is_dir():
        pytest.skip("needs ../shared/data/an4")
    texts = {"cen7-fash-b": "TWO SIX EIGHT FOUR FOUR ONE EIGHT", "an251-fash-b": "TWO TWO"}
    rows = [
        {"audio": str(AN4 / f"{name}.flac"), "text": text, "speaker": "fash"}
        for name, text in texts.items()
    ]
    (tmp_path / "an4.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--data", "manifest", "--path", tmp_path / "an4.jsonl", "--words", "two", "six"]
    recognizer = RECIPES.parent / "saved_models" / "an4_speech.keras"
    said = run("cut_words", recognizer, *words, "--out", tmp_path / "cut.jsonl")
    assert "2 words of 1 speakers" in said
    assert mm.read_manifest(tmp_path / "cut.jsonl")["transcript"] == ["two", "six"]

    for name in ("2_ann_5", "6_ann_6", "6_ben_5", "2_ben_6"):
        sound = mm.speak("two" if name.startswith("2") else "six", seed=3, synthesizer="tones")
        (tmp_path / f"{name}.wav").write_bytes(sound)
    options = ["--data", "fsdd", "--path", tmp_path, "--also", tmp_path / "cut.jsonl"]
    options += ["--tokenizer", "word", "--size", "nano", "--bands", "40", "--sample-rate", "8000"]
    options += ["--normalization", "peak", "--tone-db", "6", "--hiss-db", "0", "30"]
    options += ["--hold-out-takes", "6", "--epochs", "1", "--scores-only", "--out", tmp_path]
    said = run("speech_to_text", *options)
    assert "4 recordings to train on" in said
    assert "2 held-out recordings" in said
    assert "% of them wholly right" in said
    assert mm.load_model(tmp_path / "model.keras").preprocessor.inputs["audio"].bands == 40


def test_classification_from_a_manifest(tmp_path):
    rows = [{"text": ["what a film", "dull"][i % 2], "label": "+-"[i % 2]} for i in range(20)]
    (tmp_path / "texts.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "vectors.txt").write_text("what 1 0\nFILM 0 1\n")
    options = ["--data", "manifest", "--path", tmp_path / "texts.jsonl", "--epochs", "1"]
    vectors = ["--vectors", tmp_path / "vectors.txt", "--out", tmp_path / "out"]
    said = run("classification", *options, *vectors, "--save-steps", "1")
    assert any((tmp_path / "out" / "checkpoints").iterdir())
    assert "Word vectors of 2 words; 2 have none" in said
    assert "macro F1" in said
    assert "verified, equal" in said
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    assert mm.load_model(tmp_path / "out" / "model.keras").infer({"text": ["dull"]})["label"]
    assert "2 folds: " in run("classification", *options, "--folds", "2")
    assert "One batch, " in run("classification", *options, "--check")


def test_visual_question_answering_from_a_manifest(tmp_path):
    random = np.random.default_rng(0)
    rows = []
    for i in range(20):
        colour = ["red", "green"][i % 2]
        pixels = random.integers(0, 99, (32, 32, 3), dtype="uint8")
        pixels[..., i % 2] = 255
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
        rows.append({"image": f"{i}.png", "question": "which colour", "answer": colour})
    (tmp_path / "asked.jsonl").write_text("\n".join(map(json.dumps, rows)))
    options = ["--path", tmp_path / "asked.jsonl", "--out", tmp_path / "out", "--epochs", "1"]
    said = run("visual_question_answering", "--data", "manifest", *options, "--image-size", "32")
    for line in ("this model", "without image", "most frequent answer to the question"):
        assert line in said
    assert "verified, equal" in said
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
    model = mm.load_model(tmp_path / "out" / "model.keras")
    answers = model.infer({"image": [str(tmp_path / "0.png"), None], "question": ["which"] * 2})
    assert set(answers["answer"]) <= {"red", "green"}


@pytest.mark.slow
def test_questions_about_a_room(tmp_path):
    options = ["--rooms", "16", "--held-out", "8", "--questions", "2", "--epochs", "1"]
    said = run("multimodal_question_answering", *options, "--out", tmp_path / "out")
    assert "image, audio" in said
    assert "image and readings" in said
    assert "verified, equal" in said
    assert (tmp_path / "out" / "report.html").stat().st_size > 10_000
