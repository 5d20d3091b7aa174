"""The client against a running server: the names of the task, retries, streams, no TensorFlow."""

import asyncio
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import mmkeras as mm
from mmkeras import cli
from mmkeras.client import asking

pytest.importorskip("httpx")


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def paths(tmp_path_factory, echoes):
    """Bundles of a captioner, and of what tells what it was asked."""
    keras.utils.set_random_seed(1)
    folder = tmp_path_factory.mktemp("bundles")
    words = mm.train_tokenizer(["a red dog runs on grass", "two cats sleep on a sofa"], "word")
    captioner = mm.image_captioning(words, 32, size="tiny", sequence_length=6)
    mm.export(captioner, folder / "captions", beam_width=None)
    return [folder / "captions", echoes]


@pytest.fixture(scope="module")
def exports(paths):
    return {path.name: mm.Export(path) for path in paths}


@pytest.fixture(scope="module")
def server(paths):
    with mm.Server(paths, port=0, grpc_port=0, token="secret", batch_size=4) as server:
        yield server


@pytest.fixture(params=["rest", "grpc"])
def url(request, server):
    return server.url if request.param == "rest" else server.grpc_url


@pytest.fixture
def connect(url):
    """A function that gives a client of a model; all are closed in the end."""
    made = []

    def client(model, **options):
        made.append(mm.Client(url, model, **{"token": "secret", **options}))
        return made[-1]

    yield client
    for each in made:
        each.close()


def check_close(found, expected):
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        if name == "score":
            np.testing.assert_allclose(found[name], values, atol=1e-4)
        else:
            assert found[name] == values


def test_answers_are_those_of_the_export(connect, exports, photo, tmp_path):
    (tmp_path / "photo.png").write_bytes(photo(1))
    photos = {"image": [photo(0), tmp_path / "photo.png", str(tmp_path / "photo.png")]}
    expected = exports["captions"].infer(photos)
    client = connect("captions")
    # Batches are split and joined.
    check_close(client.infer(photos, batch_size=2), expected)
    check_close(connect("captions", version=1).infer(photos), expected)
    assert client.infer({"image": []}) == {"caption": [], "score": []}


def test_signatures_are_told(connect):
    described = connect("captions").signatures()
    assert described["serving_default"]["inputs"]["image_bytes"].dtype == "DT_STRING"
    assert described["serving_default"]["outputs"]["score"].shape == [-1]
    assert not any(name.startswith("__") for name in described)


def test_bytes_numbers_and_missing_values(connect):
    client = connect("echo")
    records = {"x": [np.float32([1, 2]), (3.0, 4.0)], "data": [b"\xff\x00", None]}
    assert client.infer(records) == {
        "data_bytes": [b"\xff\x00", b""],
        "number": [3, 3],
        "total": [3.0, 7.0],
    }
    assert client.infer({"n": [None, 4]}, "root") == {"root": [0.0, 2.0]}
    assert client.predict({"n": np.int64(5)}, "next") == {"next": 6}
    assert client.infer({"text": ["é", "犬"]}, "upper") == {"upper": ["É", "犬"]}


def test_a_row_that_cannot_be_read_is_named(connect, photo):
    photos = {"image": [photo(0), photo(1), photo(2), b"GIF89a nothing"]}
    with pytest.raises(ValueError, match=r"^Row 3, {'image': '<14 bytes>'}: "):
        connect("captions").infer(photos, batch_size=2)


@pytest.mark.parametrize(
    ("records", "told"),
    [
        ({}, r"with the names \['image'\]; None stands for .* Received: \[\]"),
        ({"picture": []}, r"Received: \['picture'\]"),
        ({"image": "photo.jpg"}, "should be a list, one value per example. Received: str"),
        ({"image": ["none.jpg"]}, "Input 'image', row 0: .*none.jpg"),
        ({"image": [3]}, "Input 'image', row 0"),
    ],
)
def test_bad_records(connect, records, told):
    with pytest.raises(ValueError, match=told):
        connect("captions").infer(records)


def test_what_a_server_refuses(connect, server, photo):
    photos = {"image": [photo(0)]}
    with pytest.raises(ValueError, match=r"should be one of \['explain', .*'no'"):
        connect("captions").infer(photos, "no")
    with pytest.raises(LookupError, match=r"model 'no': Servable not found .*'captions': \[1\]"):
        connect("no").infer(photos)
    with pytest.raises(LookupError, match=r"Specific\(captions, 2\)"):
        connect("captions", version=2).infer(photos)
    with pytest.raises(ValueError, match="version label: old"):
        connect("captions", version="old").infer(photos)
    with pytest.raises(PermissionError, match="Bearer TOKEN"):
        connect("captions", token="guess").infer(photos)
    with pytest.raises(ValueError, match=r"echo.*Task size 5 is larger"):
        connect("echo").infer({"text": ["a"] * 5}, "upper", batch_size=5)
    with pytest.raises(ValueError, match=r"of upper should be \['text'\]. Received: \['words'\]"):
        connect("echo").predict({"words": ["a"]}, "upper")
    with pytest.raises(ValueError, match="begin with http://, https:// or grpc://"):
        mm.Client("localhost:8501", "captions")


def test_a_server_that_is_not_there_yet_is_waited_for(connect, monkeypatch):
    waits = []
    client = connect("echo", token="secret")
    send = client._transport.send
    refusals = [asking.Failure("UNAVAILABLE", "full")] * 3

    def busy(request):
        if refusals:
            raise refusals.pop()
        return send(request)

    monkeypatch.setattr(client._transport, "send", busy)
    monkeypatch.setattr(asking.time, "sleep", waits.append)
    assert client.infer({"text": ["a"]}, "upper") == {"upper": ["A"]}
    assert len(waits) == 3
    assert all(wait <= most for wait, most in zip(waits, asking.WAITS, strict=False))


@pytest.mark.parametrize("scheme", ["http", "grpc"])
def test_nobody_there(monkeypatch, scheme):
    waits = []
    monkeypatch.setattr(asking.time, "sleep", waits.append)
    # A port that was free just now.
    with mm.Client(f"{scheme}://127.0.0.1:1", "echo") as client, pytest.raises(ConnectionError):
        client.signatures()
    assert len(waits) == len(asking.WAITS)


def test_no_answer_in_time(echoes):
    with mm.Server([echoes], port=0, grpc_port=0, batch_timeout=1.0) as server:
        for url in (server.url, server.grpc_url):
            with mm.Client(url, "echo", timeout=0.2) as client, pytest.raises(TimeoutError):
                client.infer({"text": ["a"]}, "upper")


def test_streams_are_those_of_the_export(connect, exports):
    sound = np.random.default_rng(0).normal(0, 0.1, (2, 100)).astype(np.float32)
    stream, expected = connect("echo").stream(), exports["echo"].stream()
    state, other = stream.initial_state(2), expected.initial_state(2)
    assert state["sample_rate"] == [4, 4]
    for samples in np.split(sound, [70, 71], axis=1):
        heard, state = stream.step(samples, state)
        told, other = expected.step(samples, other)
        assert heard == told
    end = stream.end(state)
    assert end["text"] == expected.end(other)["text"]
    np.testing.assert_allclose(end["score"], sound.max(axis=1), rtol=1e-6)


def test_asynchronously(url, exports, photo):
    photos = {"image": [photo(0), photo(1)]}

    async def ask():
        async with mm.AsyncClient(url, "captions", token="secret") as client:
            several = await asyncio.gather(client.infer(photos), client.infer(photos))
            with pytest.raises(ValueError, match="Row 0"):
                await client.infer({"image": [b"x"]})
        async with mm.AsyncClient(url, "echo", token="secret") as client:
            state = await client.stream().initial_state()
        return several, state

    several, state = asyncio.run(ask())
    assert several[0] == several[1]
    check_close(several[0], exports["captions"].infer(photos))
    assert state["sample_rate"] == [4]


def test_a_client_needs_no_tensorflow():
    code = (
        "import sys, mmkeras as mm; clients = [mm.Client(f'{s}://127.0.0.1:1', 'm') "
        "for s in ('http', 'grpc')]; mm.AsyncClient;"
        "print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "[]", result.stderr


class TestVerified:
    """Golden requests asked of a server."""

    @pytest.mark.parametrize("name", ["captions", "echo"])
    def test_a_server_answers_as_the_export(self, connect, paths, name):
        (path,) = (path for path in paths if path.name == name)
        assert mm.verify(path, connect(name)) == []

    def test_a_server_of_something_else_is_told(self, connect, write_echo, tmp_path):
        path = write_echo(tmp_path / "echo" / "3", number=4) or tmp_path / "echo" / "3"
        told = mm.verify(path, connect("echo"))
        assert "the server's serving_default: number[0] is 3.0, was 4.0 (1 differ)" in told

    def test_by_the_command(self, url, paths, capsys):
        arguments = ["verify", str(paths[0]), "--server", url, "--token", "secret"]
        assert cli.main(arguments) == 0
        assert capsys.readouterr().out == "equal\n"
        assert cli.main([*arguments, "--name", "nobody"]) == 1
        assert "nobody" in capsys.readouterr().err
