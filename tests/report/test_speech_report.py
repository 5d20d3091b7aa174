import base64
import io
import types
import wave

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf
from pages import Page

from mmkeras.metrics import speech_scores
from mmkeras.preprocessing import Field, Text, WordTokenizer
from mmkeras.report import write_speech_report
from mmkeras.report.speech import spectrogram

RATE = 8000
WORDS = WordTokenizer(["[PAD]", "[START]", "[END]", "[UNK]", "yes"])
SAID = ["yes <b>", "go home now", "three & two", "yes", "今天 天气", "one two three four"]
HEARD = ["yes b", "go now", "tree & too", "yes", "今天 天汽 <i>", ""]
SPEAKERS = ["ann", "ben <3", "ann", "cid", "cid", "ann"]


class Recording(Field):
    """As the audio field is seen from here."""

    per_example = True
    sample_rate = RATE

    def load(self, value):
        return value

    def signal(self, raw):
        return tf.audio.decode_wav(raw)[0][:, 0]


class Head:
    """Hears "yes" in every recording, in the frames 2 to 4 of 10."""

    def answer(self, context, context_mask=None, **options):
        return {"ids": tf.constant([[[4, 0]]])}

    def explain(self, ids, context, context_mask=None):
        return {"frames": tf.constant([[[2, 5], [0, 0]]]), "confidence": tf.constant([[0.5, 0]])}


class Attending(Head):
    def explain(self, ids, context, context_mask=None):
        return {"attention": tf.one_hot([[7, 0]], 10)}


def recording(hertz, seconds):
    samples = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setparams((1, 2, RATE, 0, "NONE", ""))
        out.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()


@pytest.fixture(scope="module")
def task():
    """What a report asks of a task, without training one."""
    x = keras.Input((4,))
    model = keras.Model(x, keras.layers.Dense(3)(x))
    fields = types.SimpleNamespace(
        inputs={"audio": Recording()},
        targets={"transcript": Text(WORDS, 9)},
        tensors=lambda raw: raw,
    )
    return types.SimpleNamespace(
        name="speech_to_text",
        preprocessor=fields,
        layers=model.layers,
        trainable_weights=model.trainable_weights,
        count_params=model.count_params,
        raw_tensors=lambda columns: columns,
        context=lambda inputs: {"transcript": {"context": tf.zeros([1, 10, 4])}},
        get_layer=lambda name: Head(),
        infer=lambda inputs, **options: {"transcript": HEARD[: len(inputs["audio"])]},
    )


@pytest.fixture(scope="module")
def records():
    sounds = [recording(440 + 100 * row, 0.3 + 0.2 * row) for row in range(len(SAID) - 1)]
    return {"audio": [*sounds, recording(300, 31)], "transcript": SAID, "speaker": SPEAKERS}


@pytest.fixture(scope="module")
def page(task, records, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "new" / "report.html"
    peaks = np.eye(12)
    alignments = {
        1: [("go", peaks[1]), (" ", peaks[4]), ("<now>", peaks[8] + peaks[9] / 2)],
        3: [("yes", np.zeros(5))],
    }
    history = {"loss": [3.0, 2.0], "val_loss": [3.5, 2.5], "val_WER": [0.5, 0.25]}
    return Page(
        write_speech_report(
            path,
            task,
            records,
            HEARD,
            history,
            alignments,
            title="Yes & <no>",
            notes="Notes.",
            details={"seed": 17},
            beam_width=4,
        )
    )


def test_rates_are_those_of_the_metric(page):
    scores = speech_scores(HEARD, SAID, SPEAKERS)
    low, high = (f"{100 * edge:.1f} %" for edge in scores["WER interval"])
    assert f"WER {100 * scores['WER']:.1f} % {low} to {high}" in page.text
    assert f"word error rate {100 * scores['WER']:.1f} %" in page.text
    assert f"character error rate {100 * scores['CER']:.1f} %" in page.text
    assert scores["signatures"][0] in page.text
    ann = scores["by group"]["ann"]
    assert f"ann 3 {ann['words']} {ann['substitutions']} {ann['deletions']}" in page.text
    assert "ben <3 1 3 0 1 0" in page.text


def test_speakers_stand_worst_first(page):
    table = page.text[page.text.index("By speaker") : page.text.index("By length")]
    assert table.index("ann 3") < table.index("cid 2") < table.index("ben <3 1")


def test_everything_is_escaped(page):
    assert not {"b>", "no", "now"} & {tag for tag, _ in page.found}
    for text in ("Yes & <no>", "<now>", "ben <3"):
        assert text in page.text
    assert "<script" not in page.source


def test_the_page_needs_nothing_else(page):
    for tag, attributes in page.found:
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith("data:"), tag
    assert "media-src data:" in page.source


def test_edits_are_marked(page):
    kinds = [a.get("class") for a in page.all("span")]
    assert kinds.count("delete") >= 1 + 4 + 1  # the key, a word and a whole utterance
    assert {"substitute", "insert", "equal"} <= set(kinds)
    assert "home – " in page.text


def test_recordings_play_and_long_ones_do_not(page, records):
    sounds = [a["src"].removeprefix("data:audio/wav;base64,") for a in page.all("audio")]
    with wave.open(io.BytesIO(base64.b64decode(sounds[0]))) as file:
        assert (file.getframerate(), file.getnframes()) == (RATE, int(0.5 * RATE))
        played = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    with wave.open(io.BytesIO(records["audio"][1])) as file:
        np.testing.assert_allclose(
            played, np.frombuffer(file.readframes(file.getnframes()), "<i2"), atol=2
        )
    assert "longer than 30 s: not in this page" in page.text


def test_spectrograms_and_alignments_are_drawn(page):
    pictures = page.all("image")
    for picture in pictures:
        data = base64.b64decode(picture["href"].removeprefix("data:image/png;base64,"))
        image = PIL.Image.open(io.BytesIO(data))
        assert image.size == (int(picture["width"]), int(picture["height"]))
    labels = [a["aria-label"] for a in page.all("svg")]
    assert "Spectrogram of record 1, aligned with: go <now>" in [
        " ".join(label.split()) for label in labels
    ]
    ridges = [a for a in page.all("polygon") if "ridge" in a["class"]]
    assert len(ridges) == 3  # a token without weight has none
    middle = float(ridges[0]["points"].split()[2].split(",")[0])
    assert middle == pytest.approx(960 * 1.5 / 12, abs=0.1)
    assert {"go", "␣", "<now>", "yes"} <= set(page.said)


def test_curves_without_a_training_series(page):
    labels = [a["aria-label"] for a in page.all("svg")]
    assert "WER by epoch: valid ends at 0.25" in labels
    assert "loss by epoch: train ends at 2, valid ends at 2.5" in labels


def test_errors_model_and_run_are_told(page, task):
    assert "three → tree" in page.text
    assert f"{task.count_params():,} parameters" in page.text
    for row in ("seed 17", "search beam_width=4", "records 6"):
        assert row in page.text


def test_the_worst_and_the_best(page):
    worst = page.text[page.text.index("Worst") : page.text.index("Best")]
    best = page.text[page.text.index("Best") : page.text.index("By speaker")]
    assert worst.index("record 5") < worst.index("record 2")
    assert "record 3" in best
    assert "record 5" not in best


def test_the_task_answers_and_little_is_given(task, records, tmp_path):
    few = {name: records[name][:1] for name in ("audio", "transcript")}
    page = Page(write_speech_report(tmp_path / "r.html", task, few, unit="character"))
    assert "word error rate 0.0 %" in page.text
    (ridge,) = page.all("polygon")
    assert ridge["points"].startswith("96.0,210 144.0,210.0 240.0,48.1 ")
    for left_out in ("Training", "By speaker", "Worst", "Most frequent"):
        assert left_out not in page.text


def test_attention_is_drawn_where_nothing_is_aligned(task, records, tmp_path):
    attending = types.SimpleNamespace(**{**vars(task), "get_layer": lambda name: Attending()})
    few = {name: records[name][:1] for name in ("audio", "transcript")}
    page = Page(write_speech_report(tmp_path / "r.html", attending, few))
    (line,) = [a for a in page.all("line") if "ridge" in a["class"]]
    assert line["x1"] == "720.0"
    page = Page(write_speech_report(tmp_path / "r.html", attending, few, alignments={}))
    assert page.all("polygon") == []


def test_what_does_not_fit_is_named(task, records, tmp_path):
    def write(records=records, hypotheses=HEARD, **options):
        options = {"alignments": {}, **options}
        write_speech_report(tmp_path / "r.html", task, records, hypotheses, **options)

    with pytest.raises(ValueError, match=r"one text for each hypothesis.*1 hyp"):
        write(hypotheses=["a"])
    for bad in ({"audio": []}, {"audio": [], "transcript": []}, {**records, "transcript": ["a"]}):
        with pytest.raises(ValueError, match=r"`records` should hold equally long columns"):
            write(bad)
    with pytest.raises(ValueError, match=r"`alignments` should be of records 0 to 5. .* 6"):
        write(alignments={6: []})
    for weights in (np.zeros((2, 2)), [], [0.5, -1], [float("nan")]):
        with pytest.raises(ValueError, match=r"`alignments` should give each token .*record 2"):
            write(alignments={2: [("a", weights)]})
    other = types.SimpleNamespace(
        preprocessor=types.SimpleNamespace(inputs={"image": object()}, targets={"caption": None})
    )
    with pytest.raises(ValueError, match=r"`task` should have one recording.*\['image'\]"):
        write_speech_report(tmp_path / "r.html", other, records, HEARD)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("samples", [0, 1, 50, 8000])
@pytest.mark.parametrize("rate", [100, 8000, 48000])
def test_spectrogram_of_any_recording(samples, rate):
    for sound in (np.zeros(samples), np.random.default_rng(0).standard_normal(samples)):
        assert spectrogram(sound, rate).size == (960, 176)


def test_spectrogram_shows_the_tone():
    rate = 16000
    tone = np.sin(2 * np.pi * 2000 * np.arange(rate) / rate)
    pixels = np.asarray(spectrogram(tone, rate))
    assert np.argmax(pixels[:, 480]) == pytest.approx(176 * (1 - 2000 / 8000), abs=2)
