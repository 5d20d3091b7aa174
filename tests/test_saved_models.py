"""The small ready models answer, without any training."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest

import mmkeras as mm
from mmkeras.metrics.speech import normalize

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared" / "data"
AN4 = DATA / "an4" / "flac" / "an4_clstk"
CLIPS = DATA / "speech_samples"
DIGITS = DATA / "fsdd"
TIMIT = DATA / "timit_sample"


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


def test_digits_of_takes_that_it_was_not_trained_on():
    if not DIGITS.is_dir():
        pytest.skip("needs ../shared/data/fsdd")
    records, _ = mm.hold_out(mm.read_fsdd(DIGITS, takes=[5]), ["george", "lucas", "nicolas"])
    model = mm.load_model(ROOT / "saved_models" / "digits_speech.keras")
    heard = model.infer({"audio": records["audio"]})["transcript"]
    assert mm.speech_scores(heard, records["transcript"])["WER"] <= 0.05


@pytest.fixture
def clips(tmp_path):
    """The shortest of a few sources, at 16 and 22 kHz, as a manifest names them."""
    if not CLIPS.is_dir():
        pytest.skip("needs ../shared/data/speech_samples")
    lines = (CLIPS / "manifest.tsv").read_text(encoding="utf-8").splitlines()
    rows = [
        {"audio": str(CLIPS / row["file"]), "text": row["text"], "speaker": row["speaker"]}
        for row in csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE)
        if float(row["seconds"]) < 3
    ]
    manifest = tmp_path / "clips.jsonl"
    manifest.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    records, _, _ = mm.read("manifest", str(manifest))
    assert set(records["speaker"]) == {"LJ", "librivox", "1089"}
    return records


@pytest.fixture
def sentences():
    """One of TIMIT's, and one with an apostrophe, which the recognizer cannot write."""
    if not TIMIT.is_dir():
        pytest.skip("needs ../shared/data/timit_sample")
    records, _, _ = mm.read("timit", str(TIMIT))
    rows = [records["transcript"].index(each) for each in ("Maybe they will take us.", DONT)]
    return {name: [values[row] for row in rows] for name, values in records.items()}


DONT = "Don't ask me to carry an oily rag like that."


@pytest.mark.parametrize("source", [pytest.param("clips", marks=pytest.mark.slow), "sentences"])
def test_the_recognizer_goes_all_the_way_over_speech_unlike_its_own(source, request, tmp_path):
    records = request.getfixturevalue(source)
    model = mm.load_model(ROOT / "saved_models" / "an4_speech.keras")
    lowered = {**records, "transcript": [normalize(text) for text in records["transcript"]]}
    with pytest.raises(ValueError, match="record 0: 'transcript' holds what the tokenizer lacks"):
        mm.dataset(records, model.preprocessor, 4)
    unwritable = [text for text in lowered["transcript"] if "'" in text]
    with warnings.catch_warnings(action="ignore"):
        data = mm.dataset(lowered, model.preprocessor, 4, batch_seconds=30, on_error="skip")
    assert len(data.skipped) == len(unwritable)
    assert sum(len(y["transcript"]) for _, y, *_ in data) == len(lowered["audio"]) - len(unwritable)

    scores, answers = mm.evaluate(model, records, progress=False, beam_width=4)
    assert scores["utterances"] == len(answers) == len(records["audio"])
    assert 0.5 < scores["CER"] < 1
    heard = model.serve_function("timestamps", beam_width=4)(
        model.raw_tensors(model.preprocessor.load({"audio": records["audio"]}))
    )
    for text, words, times in zip(
        answers, heard["transcript_words"].numpy(), heard["transcript_seconds"].numpy(), strict=True
    ):
        said = [word.decode() for word in words if word]
        assert said == text.split()
        assert (np.diff(times[: len(said)].ravel()) >= 0).all()
    page = mm.write_speech_report(
        tmp_path / "report.html", model, records, answers, beam_width=4, title="Elsewhere"
    )
    assert "Elsewhere" in page.read_text(encoding="utf-8")
