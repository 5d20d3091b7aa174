"""The small ready models answer, without any training."""

from pathlib import Path

import pytest

import mmkeras as mm

ROOT = Path(__file__).parents[1]
AN4 = ROOT.parent / "shared" / "data" / "an4" / "flac" / "an4_clstk"


def test_the_captioner_reads_the_picture_in_the_docs():
    model = mm.load_model(ROOT / "saved_models" / "world_captioning.keras")
    (caption,) = model.infer({"image": [ROOT / "docs" / "world.png"]}, beam_width=4)["caption"]
    assert "heart" in caption
    assert "purple" in caption


def test_the_recognizer_hears_a_speaker_that_it_was_not_trained_on():
    if not AN4.is_dir():
        pytest.skip("needs ../shared/data/an4")
    model = mm.load_model(ROOT / "saved_models" / "an4_speech.keras")
    heard = model.infer({"audio": [AN4 / "fjam" / "an76-fjam-b.flac"]}, beam_width=16)
    assert heard["transcript"] == ["yes"]
