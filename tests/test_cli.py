import io
import json
import types

import numpy as np
import pytest
import soundfile
import tensorflow as tf
import tones
from PIL import Image

import mmkeras as mm
from mmkeras.cli import main
from mmkeras.preprocessing.resampling import resample


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model, its export and a photo."""
    folder = tmp_path_factory.mktemp("cli")
    words = mm.train_tokenizer(["a red dog", "two birds"], "word")
    model = mm.image_captioning(words, 32, decoder="lstm", size="tiny", sequence_length=4)
    model.save(folder / "model.keras")
    mm.export(model, folder / "export", beam_width=None)
    photo = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(photo, "JPEG")
    (folder / "a.jpg").write_bytes(photo.getvalue())
    return folder


SOUND = np.int16(tones.samples(0.5, 5) * 2**15)


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    """Saved recognizers, one of streams, and a recording as FLAC and WAV."""
    folder = tmp_path_factory.mktemp("speech")
    tones.recognizer(streams=True).save(folder / "streams.keras")
    tones.recognizer().save(folder / "whole.keras")
    soundfile.write(folder / "a.flac", SOUND, tones.RATE)
    (folder / "a.wav").write_bytes(tones.wav(0.5, 5))
    return folder


EXPORTED = {"export": "whole.keras", "stream_export": "streams.keras"}


@pytest.fixture
def model_path(request, speech):
    """Path of a model; an export is made when it is first needed."""
    path = speech / request.param
    if request.param in EXPORTED and not path.exists():
        mm.export(mm.load_model(speech / EXPORTED[request.param]), path, beam_width=None)
    return path


MODELS = ["streams.keras", "whole.keras", "export", "stream_export"]


class Pipe(io.BytesIO):
    """Standard input of which a few bytes come at a time."""

    def read1(self, size=-1):
        return super().read1(min(size, 1001))


def said(arguments, capsys, monkeypatch=None, given=b""):
    """What a command prints, standard input being `given`."""
    if monkeypatch:
        monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=Pipe(given)))
    assert main([str(word) for word in arguments]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("model_path", MODELS, indirect=True)
def test_recordings_need_not_be_wav(model_path, speech, capsys, monkeypatch):
    command = ["infer", model_path, "--audio"]
    lines = said([*command, speech / "a.flac", speech / "a.wav"], capsys).splitlines()
    (flac, text), (_, again) = (line.split("\t") for line in lines)
    assert flac.endswith("a.flac")
    assert text == again
    assert len(text) > 2
    for name in ("a.wav", "a.flac"):
        piped = (speech / name).read_bytes()
        assert said([*command, "-"], capsys, monkeypatch, piped) == f"{text}\n"
    piped = (speech / "a.wav").read_bytes()
    shown = said([*command, "-", "--json"], capsys, monkeypatch, piped)
    answer = json.loads(shown)
    assert set(answer) == {"audio", "transcript", "score"}
    assert answer["transcript"] == text
    # An export without streams does not tell at which rate it hears; all others do.
    rate = ["--rate", tones.RATE] if model_path.name == "export" else []
    assert said([*command, "-", *rate], capsys, monkeypatch, SOUND.tobytes()) == f"{text}\n"


@pytest.mark.parametrize("model_path", ["streams.keras", "stream_export"], indirect=True)
def test_standard_input_may_have_another_rate(model_path, speech, capsys, monkeypatch):
    twice = np.int16(2**15 * resample(SOUND / np.float32(2**15), tones.RATE, 16000))
    command = ["infer", model_path, "--audio"]
    soundfile.write(speech / "b.wav", twice, 16000)
    _, text = said([*command, speech / "b.wav"], capsys).rstrip("\n").split("\t")
    assert len(text) > 2
    piped = (speech / "b.wav").read_bytes()
    assert said([*command, "-"], capsys, monkeypatch, piped) == f"{text}\n"
    raw = said([*command, "-", "--rate", 16000], capsys, monkeypatch, twice.tobytes())
    assert raw == f"{text}\n"


@pytest.mark.parametrize("model_path", ["streams.keras", "stream_export"], indirect=True)
def test_what_is_certain_is_written_at_once(model_path, speech, capsys, monkeypatch):
    seen = []

    class Watched(Pipe):
        def read1(self, size=-1):
            seen.append(capsys.readouterr().out)
            if len(seen) == 6:
                raise KeyboardInterrupt
            return super().read1(size)

    pipe = Watched((speech / "a.wav").read_bytes())
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=pipe))
    assert main(["infer", str(model_path), "--audio", "-"]) == 0
    text = "".join(seen) + capsys.readouterr().out
    heard = SOUND[: (5 * 1001 - 44) // 2]
    model = mm.load_model(speech / "streams.keras")
    assert text == model.infer({"audio": [(heard, tones.RATE)]})["transcript"][0] + "\n"
    assert len("".join(seen)) > 1


def test_a_damaged_stream_still_says_what_was_said(speech, capsys, monkeypatch):
    sound = np.where(np.arange(4000) < 3000, tones.samples(0.5, 5), np.nan).astype("float32")
    damaged = io.BytesIO()
    soundfile.write(damaged, sound, tones.RATE, "FLOAT", format="WAV")
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=Pipe(damaged.getvalue())))
    assert main(["infer", str(speech / "streams.keras"), "--audio", "-"]) == 1
    captured = capsys.readouterr()
    assert len(captured.out) > 2
    assert captured.err == "mmkeras: The recording has samples that are NaN or infinite\n"


@pytest.mark.parametrize(
    ("model_path", "lines"),
    [
        (
            "whole.keras",
            [
                "input audio: Audio (None, 20) float32",
                "target transcript: Transcript from CTC",
                "longest transcript: 12 tokens",
            ],
        ),
        ("export", ["signature timestamps: takes audio_bytes [None] string"]),
    ],
    indirect=["model_path"],
)
def test_inspect_of_speech(model_path, lines, capsys):
    shown = said(["inspect", model_path], capsys).splitlines()
    assert set(lines) <= set(shown)


@pytest.mark.parametrize(
    ("model_path", "arguments", "given", "message"),
    [
        ("streams.keras", ["--audio", "-"], b"", "Received: nothing"),
        ("whole.keras", ["--audio", "-"], b"", "Received: nothing"),
        ("export", ["--audio", "-"], b"not sound", "not a WAV file"),
        ("streams.keras", ["--audio", "-"], b"RIFF1234WAVE", "a WAV without a whole `fmt `"),
        ("streams.keras", ["--audio", "-", "--text", "a"], b"", "should be the only input"),
        ("streams.keras", ["--sound", "-"], b"", "with the names ['audio']"),
        ("stream_export", ["--sound", "-"], b"", "with the names ['audio']"),
        ("stream_export", ["--audio", "-"], b"", "Received: nothing"),
        ("stream_export", ["--audio", "-", "--rate", "9"], b"0", "Received: rate=9"),
        ("export", ["--audio", "-", "--rate", "0"], b"0", "Received: sample_rate=0"),
        ("export", ["--sound", "-", "--rate", "8000"], b"00", "with the names ['audio']"),
        ("whole.keras", ["--audio", "a.wav", "--rate", "8000"], b"", "on standard input"),
        ("streams.keras", ["--audio", __file__], b"", "not a WAV file"),
        ("export", ["--audio", "none.flac"], b"", "none.flac"),
    ],
    indirect=["model_path"],
)
def test_errors_of_speech_are_one_line(model_path, arguments, given, message, capsys, monkeypatch):
    monkeypatch.setattr("sys.stdin", types.SimpleNamespace(buffer=Pipe(given)))
    assert main(["infer", str(model_path), *arguments]) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("mmkeras: ")
    assert message in said


@pytest.mark.parametrize("model", ["model.keras", "export"])
def test_infer_prints_text_or_json(model, folder, capsys):
    photo = str(folder / "a.jpg")
    assert main(["infer", str(folder / model), "--image", photo, photo]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].split("\t")[0] == photo
    assert main(["infer", str(folder / model), "--json", "--image", photo]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"image", "caption", "score"}
    assert lines[0].split("\t")[1] == answer["caption"]


def test_verify_and_inspect(folder, capsys):
    assert main(["verify", str(folder / "export")]) == 0
    assert capsys.readouterr().out == "equal\n"
    assert main(["inspect", str(folder / "export")]) == 0
    assert "signature serving_default: takes image_bytes [None] string" in capsys.readouterr().out
    assert main(["inspect", str(folder / "model.keras")]) == 0
    shown = capsys.readouterr().out
    assert "input image: Image (32, 32, 3) uint8" in shown
    assert "vocabulary of caption: 9 (WordTokenizer)" in shown


def test_verify_says_what_differs(folder, capsys, tmp_path):
    (tmp_path / "1").mkdir()
    for file in (folder / "export" / "1").rglob("*"):
        if file.is_file():
            copy = tmp_path / "1" / file.relative_to(folder / "export" / "1")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / "1" / "fingerprint.pb").write_bytes(b"other")
    assert main(["verify", str(tmp_path)]) == 1
    assert "fingerprint.pb was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infer", "none.keras", "--image", "a.jpg"], "No model file none.keras"),
        (["infer", "MODEL", "--image", "none.jpg"], "none.jpg"),
        (["infer", "MODEL", "a.jpg"], "such as --image a.jpg"),
        (["infer", "MODEL"], "such as --image photo.jpg"),
        (["infer", "MODEL", "--photo", "a.jpg"], "with the names ['image']"),
        (["verify", "nothing"], "nothing"),
        (["verify", "nothing", "--fast"], "Unknown arguments: --fast"),
    ],
)
def test_errors_are_one_line(arguments, message, folder, capsys):
    arguments = [str(folder / "model.keras") if a == "MODEL" else a for a in arguments]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("mmkeras: ")
    assert message in said
