"""The page of the server, as a browser has it."""

import base64
import io
import json
import re
import shutil
import subprocess
import wave

import chromium
import httpx
import numpy as np
import PIL.Image
import pytest
import soundfile
import tensorflow as tf

import mmkeras as mm
from mmkeras.server.rest import PAGE
from mmkeras.serving.golden import record

browses = pytest.mark.skipif(chromium.PROGRAM is None, reason="there is no Chromium")
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}


def signature(*names, **more):
    """A decorator: a function of rows of text under these names, and of others by their type."""
    specs = {name: tf.TensorSpec([None], tf.string, name=name) for name in names}
    specs |= {name: tf.TensorSpec([None], dtype, name=name) for name, dtype in more.items()}
    return tf.function(input_signature=[specs])


def rows(raw, value):
    """The same for each row."""
    value = tf.constant(value)
    count = tf.shape(next(iter(raw.values())))[0]
    return tf.repeat(value[None], count, axis=0)


class Captions(tf.Module):
    """Always the same caption, of PNG files only."""

    PLACES = (0, 15, 5, 0)

    @signature("image_bytes")
    def serving_default(self, raw):
        good = tf.reduce_all(tf.strings.substr(raw["image_bytes"], 1, 3) == "PNG")
        with tf.control_dependencies([tf.debugging.Assert(good, ["not a PNG file"])]):
            return {"caption": rows(raw, "a dog runs"), "score": rows(raw, -1.5)}

    @signature("image_bytes")
    def nbest(self, raw):
        captions = rows(raw, ["a dog runs", "a dog", ""])
        return {"caption": captions, "score": rows(raw, [-1.5, -2.25, -np.inf])}

    @signature("image_bytes")
    def explain(self, raw):
        attention = np.full([4, 16], 0.01, "float32")
        attention[range(4), self.PLACES] = 0.85
        more = {
            "caption_tokens": rows(raw, ["a", "dog", "runs", ""]),
            "caption_attention": rows(raw, attention),
        }
        return self.serving_default(raw) | more

    @signature("image_bytes", beam_width=tf.int32, length_penalty=tf.float32)
    def search(self, raw):
        numbers = [tf.strings.as_string(raw[name]) for name in ("beam_width", "length_penalty")]
        return {"caption": tf.strings.join(numbers, " and ")}


class Speech(tf.Module):
    """Tells whether a sound is loud, and for how long it lasts."""

    @signature("audio_bytes")
    def timestamps(self, raw):
        samples, rate = tf.audio.decode_wav(raw["audio_bytes"][0], desired_channels=1)
        seconds = tf.size(samples) / rate
        words = [
            tf.where(tf.reduce_max(samples) > 0.1, "loud", "quiet"),
            tf.strings.as_string(seconds, precision=1),
            tf.constant(""),
        ]
        times = tf.cast([[0, seconds / 4], [seconds / 2, seconds], [0, 0]], tf.float32)
        return {
            "transcript": tf.strings.join(words[:2], " ")[None],
            "transcript_words": tf.stack(words)[None],
            "transcript_seconds": times[None],
            "transcript_confidence": tf.constant([[0.875, 0.5, 0.0]]),
        }

    @signature("audio_bytes")
    def serving_default(self, raw):
        return {"transcript": self.timestamps(raw)["transcript"]}


class Questions(tf.Module):
    """Asks back; of two inputs nothing tells where its attention lies."""

    @signature("image_bytes", "question")
    def serving_default(self, raw):
        size = tf.strings.as_string(tf.strings.length(raw["image_bytes"]))
        return {"answer": tf.strings.join([raw["question"], size], " of ")}

    @signature("image_bytes", "question")
    def explain(self, raw):
        attention = rows(raw, np.full([1, 16], 1 / 16, "float32"))
        tokens = raw["question"][:, None]
        return self.serving_default(raw) | {"answer_tokens": tokens, "answer_attention": attention}

    @signature("question")
    def embed_question(self, raw):
        return {"embedding": rows(raw, np.arange(12, dtype="float32"))}


@pytest.fixture(scope="module")
def bundles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    for name, kind in {"captions": Captions, "questions": Questions, "speech": Speech}.items():
        module = kind()
        found = {key: getattr(module, key) for key in vars(kind) if not key.startswith("_")}
        signatures = {key: each for key, each in found.items() if callable(each)}
        tf.saved_model.save(module, str(folder / name / "1"), signatures)
        record(folder / name / "1", {})
    return [folder / name for name in ("captions", "questions", "speech")]


@pytest.fixture(scope="module")
def server(bundles):
    with mm.Server(bundles, port=0, grpc_port=None) as up:
        yield up


@pytest.fixture(scope="module")
def window(tmp_path_factory):
    with chromium.Chromium(tmp_path_factory.mktemp("chromium")) as opened:
        yield opened


@pytest.fixture
def page(window, server):
    window.dress()
    window.events.clear()
    window.open(server.url + "/")
    window.wait("document.querySelectorAll('section').length == 3")
    yield window
    events = [event["params"] for event in window.events]
    assert not [event for event in events if "exceptionDetails" in event]
    logged = [event["entry"] for event in events if "entry" in event]
    # The status of an answer is logged too.
    wrong = [each for each in logged if each["level"] == "error" and each["source"] != "network"]
    assert not wrong


@pytest.fixture
def photo(tmp_path):
    """A white photo, wider than it is high, whose name needs care in a shell."""
    path = tmp_path / "it's a dog.png"
    PIL.Image.new("RGB", (96, 64), "white").save(path)
    return path


def sound(path, seconds=2.0, rate=8000):
    """Writes a loud tone in the format that the name tells."""
    times = np.arange(int(seconds * rate)) / rate
    soundfile.write(path, 0.5 * np.sin(2 * np.pi * 440 * times), rate)
    return path


CAPTIONS, QUESTIONS, SPEECH = "#panel-0 ", "#panel-1 ", "#panel-2 "


def texts(page, selector):
    return page.run(f"[...document.querySelectorAll('{selector}')].map((x) => x.innerText)")


def text(page, selector):
    (found,) = texts(page, selector)
    return found


def shown(page, selector):
    return page.run(f"document.querySelector('{selector}').checkVisibility()")


def answer(page, panel):
    """Waits for an answer, or an error, and gives it."""
    page.wait(f"document.querySelector('{panel} .answer').ariaBusy == 'false'")
    return text(page, panel + "output") or text(page, panel + ".error")


def test_files_ask_for_nothing_from_elsewhere(server):
    names = {path.name for path in PAGE.iterdir()}
    assert names == {"index.html", "page.css", "page.js"}
    for name in names:
        got = httpx.get(f"{server.url}/{name}")
        assert got.headers["content-type"].startswith(TYPES[name[name.index(".") :]])
        policy = got.headers["content-security-policy"]
        assert policy.startswith("default-src 'self';")
        assert "unsafe" not in policy
        assert got.headers["x-content-type-options"] == "nosniff"
        assert not re.search(r"(https?:)?//\w+\.|@import|url\(", got.text)
    page = httpx.get(server.url + "/").text
    assert not re.search(r"<style|<script(?! src)| style=| on\w+=", page)


@browses
def test_every_model_has_a_form_whose_parts_have_names(page):
    assert texts(page, "h2") == [f"{x}version 1" for x in ("captions", "questions", "speech")]
    assert texts(page, "nav a") == ["captions", "questions", "speech"]
    assert texts(page, CAPTIONS + "option") == ["the answer", "search"]
    assert texts(page, QUESTIONS + "option") == ["the answer", "embed_question"]
    assert not shown(page, SPEECH + "select")
    assert not shown(page, CAPTIONS + ".record")
    assert shown(page, SPEECH + ".record")
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    roles = ("button", "link", "textbox", "combobox", "image")
    controls = [node for node in nodes if node.get("role", {}).get("value") in roles]
    assert len(controls) >= 12
    assert all(node["name"]["value"] for node in controls)


@browses
def test_a_dropped_photo_is_told_and_its_words_show_where_they_looked(page, photo):
    page.drop(CAPTIONS + ".drop", photo)
    assert answer(page, CAPTIONS) == "a dog runs"
    assert texts(page, CAPTIONS + ".words button") == ["a", "dog", "runs"]
    facts = r"score −1\.5 · explain in \d+ ms · nbest in \d+ ms"
    assert re.fullmatch(facts, text(page, CAPTIONS + ".facts"))
    best = [["−1.5", "a dog runs"], ["−2.25", "a dog"], ["null", "(nothing)"]]
    assert [each.split("\n") for each in texts(page, CAPTIONS + ".best li")] == best
    warmth = """((x, y) => {
        const canvas = document.querySelector("#panel-0 .looked > canvas");
        const [red, green, blue] = canvas.getContext("2d").getImageData(x, y, 1, 1).data;
        return red - blue;
    })"""
    for word, (where, x, y) in enumerate(
        [("top left", 64, 64), ("bottom right", 448, 448), ("middle", 192, 192)]
    ):
        page.run(f"document.querySelectorAll('{CAPTIONS} .words button')[{word}].focus()")
        caption = text(page, CAPTIONS + "figcaption")
        assert caption.endswith(f"looked most at the {where}: 85 % on one of 4 × 4 places")
        assert page.run(f"{warmth}({x}, {y})") > 80
        assert page.run(f"{warmth}({512 - x}, {y})") < 20
    pressed = page.run(
        f"[...document.querySelectorAll('{CAPTIONS} .words button')].map((x) => x.ariaPressed)"
    )
    assert pressed == ["false", "false", "true"]


@browses
def test_a_question_is_asked_with_the_keyboard_alone(page, photo):
    page.choose(QUESTIONS + "[type=file]", photo)
    page.wait(f"document.querySelector('{QUESTIONS} img').naturalWidth == 96")
    visited = []
    while not visited or visited[-1] != "TEXTAREA":
        assert len(visited) < 30
        page.press("Tab")
        visited.append(page.run("document.activeElement.tagName"))
        outline = page.run(
            "getComputedStyle(document.activeElement.closest('.drop, :focus')).outlineStyle"
        )
        assert outline == "solid"
    page.type("wie groß?")
    page.press("Enter", "\r")
    assert answer(page, QUESTIONS) == f"wie groß? of {photo.stat().st_size}"
    assert not shown(page, QUESTIONS + ".looked")


@browses
def test_a_file_that_is_still_read_is_waited_for(page):
    page.run(f"""{{
        const input = document.querySelector("{QUESTIONS}[type=file]");
        const files = new DataTransfer();
        files.items.add(new File(["12345"], "x.png"));
        input.files = files.files;
        input.dispatchEvent(new Event("change"));
        input.form.requestSubmit();
    }}""")
    assert answer(page, QUESTIONS).endswith("of 5")


@browses
def test_what_a_signature_takes_beside_is_asked_for(page, photo):
    page.choose(CAPTIONS + "[type=file]", photo)
    answer(page, CAPTIONS)
    choose = "const x = document.querySelector('{}select'); x.selectedIndex = 1;"
    change = "x.dispatchEvent(new Event('change'));"
    page.run(f"{{ {choose.format(CAPTIONS)} {change} }}")
    assert texts(page, CAPTIONS + ".field:not([hidden]) .name") == [
        "Ask for",
        "image",
        "beam_width",
        "length_penalty",
    ]
    page.run(f"document.querySelector('{CAPTIONS} textarea').focus()")
    page.type("3")
    page.press("Enter", "\r")
    page.wait(f"document.querySelector('{CAPTIONS} output').textContent == '3 and nan'")
    page.type("!")
    page.press("Enter", "\r")
    page.wait(f"document.querySelector('{CAPTIONS} .error').textContent")
    assert "beam_width should be a number" in text(page, CAPTIONS + ".error")
    page.run(f"{{ {choose.format(QUESTIONS)} {change} }}")
    assert not shown(page, QUESTIONS + "[type=file]")
    page.run(f"document.querySelector('{QUESTIONS} textarea').focus()")
    page.type("what?")
    page.press("Enter", "\r")
    answer(page, QUESTIONS)
    assert text(page, QUESTIONS + "dd") == "0, 1, 2, 3, 4, 5, 6, 7, … (12 values)"


@browses
def test_a_sound_shows_its_words_and_plays_them(page, tmp_path):
    page.choose(SPEECH + "[type=file]", sound(tmp_path / "tone.wav"))
    assert answer(page, SPEECH) == "loud 2.0"
    words = texts(page, SPEECH + ".words button")
    assert [word.split("\n") for word in words] == [
        ["loud", "0.00–0.50 s", "88 % sure"],
        ["2.0", "1.00–2.00 s", "50 % sure"],
    ]
    page.run(f"document.querySelectorAll('{SPEECH} .words button')[1].click()")
    page.wait(f"document.querySelector('{SPEECH} audio').currentTime >= 1")
    page.wait(f"document.querySelector('{SPEECH} [aria-current=true] span')?.textContent == '2.0'")


@browses
def test_other_sounds_are_sent_as_wav(page, tmp_path):
    page.drop(SPEECH + ".drop", sound(tmp_path / "tone.flac"))
    assert answer(page, SPEECH) == "loud 2.0"
    assert text(page, SPEECH + ".hint") == "tone.wav"
    assert page.run(f"document.querySelector('{SPEECH} a').download") == "tone.wav"


@browses
def test_the_microphone_is_recorded(page):
    page.run(f"document.querySelector('{SPEECH} .record').focus()")
    page.press(" ", " ")
    page.wait(f"document.querySelector('{SPEECH} .record').textContent == 'Stop (1 s)'")
    page.press("Enter", "\r")
    heard = answer(page, SPEECH)
    assert re.fullmatch(r"loud [1-9]\d*\.\d", heard)
    sent = [event["params"] for event in page.events if "request" in event["params"]]
    (asked,) = [each for each in sent if each["request"]["url"].endswith(":predict")]
    data = page.call("Network.getRequestPostData", requestId=asked["requestId"])
    (recording,) = json.loads(data["postData"])["inputs"]["audio_bytes"]
    with wave.open(io.BytesIO(base64.b64decode(recording["b64"]))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 48000)


@browses
def test_errors_are_sentences_and_go_with_the_next_answer(page, photo, tmp_path):
    page.run(f"document.querySelector('{CAPTIONS} .main').click()")
    assert answer(page, CAPTIONS) == "Please give image first."
    bad = tmp_path / "no.png"
    bad.write_bytes(b"no photo")
    page.choose(CAPTIONS + "[type=file]", bad)
    page.wait(f"document.querySelector('{CAPTIONS} .error').textContent.startsWith('The server')")
    assert answer(page, CAPTIONS) == "The server could not answer: not a PNG file."
    page.choose(CAPTIONS + "[type=file]", photo)
    page.wait(f"document.querySelector('{CAPTIONS} output').textContent == 'a dog runs'")
    assert text(page, CAPTIONS + ".error") == ""


@browses
def test_code_to_copy_asks_the_same(page, photo, capsys, monkeypatch):
    monkeypatch.chdir(photo.parent)
    page.choose(QUESTIONS + "[type=file]", photo)
    page.run(f"document.querySelector('{QUESTIONS} textarea').value = `it's \"50 %\"\\\\n?`")
    page.run(f"document.querySelector('{QUESTIONS} .main').click()")
    said = answer(page, QUESTIONS)
    assert said.startswith('it\'s "50 %"\\n? of ')
    page.run(f"document.querySelector('{QUESTIONS} summary').click()")
    curl, python = texts(page, QUESTIONS + "pre")
    exec(python)
    assert capsys.readouterr().out == f"{ {'answer': [said]} }\n"
    page.call("Browser.grantPermissions", permissions=["clipboardSanitizedWrite"])
    page.run(f"document.querySelector('{QUESTIONS} .Python button').click()")
    page.wait(f"document.querySelector('{QUESTIONS} .Python button').textContent == 'Copied'")
    if shutil.which("curl") is None:
        pytest.skip("there is no curl")
    done = subprocess.run(["sh", "-c", curl], capture_output=True, check=True)
    assert json.loads(done.stdout) == {"outputs": [said]}


@browses
def test_it_fits_a_phone_and_the_dark(page, photo):
    page.choose(CAPTIONS + "[type=file]", photo)
    answer(page, CAPTIONS)
    page.run(f"document.querySelector('{CAPTIONS} summary').click()")
    columns = f"getComputedStyle(document.querySelector('{CAPTIONS} .sides')).gridTemplateColumns"
    paper = "getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]"
    assert len(page.run(columns).split()) == 2
    assert int(page.run(paper)) > 200
    page.dress(width=360, dark=True)
    assert len(page.run(columns).split()) == 1
    assert page.run("document.documentElement.scrollWidth") == 360
    assert int(page.run(paper)) < 50


@browses
def test_a_token_is_asked_for_and_a_server_that_left_is_told(window, bundles, photo):
    window.dress()
    with mm.Server(bundles[:1], port=0, grpc_port=None, token="open") as server:
        window.open(server.url + "/")
        for secret in ("wrong", "open"):
            window.wait("document.querySelector('#token').checkVisibility()")
            window.run(f"document.querySelector('#secret').value = '{secret}'")
            window.run("document.querySelector('#token').requestSubmit()")
            if secret == "wrong":
                window.wait("document.querySelector('#trouble').textContent.includes('Bearer')")
        window.wait("document.querySelector('section')")
        assert not shown(window, "#token")
        window.choose(CAPTIONS + "[type=file]", photo)
        assert answer(window, CAPTIONS) == "a dog runs"
        code = window.run("[...document.querySelectorAll('pre')].map((x) => x.textContent).join()")
        assert "Bearer $TOKEN" in code
        assert 'token=os.environ["TOKEN"]' in code
    window.run(f"document.querySelector('{CAPTIONS} .main').click()")
    assert answer(window, CAPTIONS).startswith("The server cannot be reached")
