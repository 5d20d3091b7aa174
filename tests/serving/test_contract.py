"""What the export of every task keeps, in a process that has no mmkeras."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import stock
import tensorflow as tf
import tiny

import mmkeras as mm

ALONE = Path(__file__).with_name("alone.py")
# The others take two minutes.
QUICK = ["classes of texts", "classes of pictures"]
SMALLEST = "classes of texts"
MALFORMED = 1000
# Kilobytes: what the allocator keeps or not, and no byte of each request.
FLAT = 4 * 1024


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A function from the name of a task to its export, which is written once."""
    made = {}

    def get(name):
        if name not in made:
            task, examples = tiny.make(name)
            # Searches with beams are tested elsewhere.
            made[name] = mm.export(
                task, tmp_path_factory.mktemp("tiny") / "1", examples, beam_width=None
            )
        return made[name]

    return get


def alone(path, malformed, requests):
    done = subprocess.run(
        [sys.executable, "-I", ALONE, path, str(malformed), str(requests)],
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in tiny.TASKS],
)
def test_every_export(name, exported):
    requests = 2000 if name == SMALLEST else 10
    told = alone(exported(name), MALFORMED, requests)
    assert told["unknown"] == told["python"] == told["unlike"] == []
    assert told["side_by_side"]
    became = told["malformed"]
    assert sum(became.values()) == MALFORMED
    # Bits of a text or of pixels may change, and it is still one; files that are cut are not.
    assert became["InvalidArgumentError"] > MALFORMED / 20
    assert became["answered"] > MALFORMED / 20
    assert became["TypeError"] > 0
    if name == SMALLEST:
        before, after = told["kilobytes"]
        assert after - before < FLAT


@pytest.mark.slow
@pytest.mark.parametrize("name", tiny.TASKS)
def test_memory_after_10_000_requests_is_flat(name, exported):
    before, after = alone(exported(name), 0, 10_000)["kilobytes"]
    assert after - before < FLAT


class TestBatchesOfAServer:
    """Requests that come together get what each gets alone, without Python in between."""

    @pytest.fixture(scope="class", params=["stand-in", "TensorFlow Serving"])
    def server(self, request, tmp_path_factory):
        if request.param == "stand-in":
            if stock.COMPILER is None:
                pytest.skip("no g++")
            return stock.StandIn(tmp_path_factory.mktemp("program"))
        if stock.BINARY is None:
            pytest.skip("TENSORFLOW_MODEL_SERVER names no binary")
        return stock.Stock()

    @pytest.fixture(scope="class")
    def path(self, exported):
        return exported("classes of pictures")

    @pytest.fixture(scope="class")
    def requests(self):
        """One, two or three photos in each."""
        photos = [tiny.photo(seed, kind) for seed in range(9) for kind in ("JPEG", "PNG")]
        return [{"image_bytes": photos[i : i + 1 + i % 3]} for i in range(16)] * 5

    def test_everyone_gets_their_own(self, server, path, requests):
        expected = mm.Export(path)
        answers = server.ask(path, requests)
        assert len(answers) == len(requests)
        for request, (answer, _) in zip(requests, answers, strict=True):
            alone = expected.infer({"image": request["image_bytes"]})
            assert list(answer["label"]) == alone["label"]
            assert list(answer["score"]) == pytest.approx(alone["score"], abs=1e-5)
        sizes = {rows for _, rows in answers} - {None}
        assert not sizes or max(sizes) in range(16, stock.settings(path)["max_batch_size"] + 1)

    def test_a_bad_request_is_told_and_the_next_answered(self, server, path, requests):
        bad = {"image_bytes": [b"no photo"]}
        answers = server.ask(path, [bad])
        assert "not a JPEG" in answers[0][0]
        ((answer, _),) = server.ask(path, requests[:1])
        assert set(answer) == {"label", "score"}


@pytest.mark.skipif(stock.COMPILER is None, reason="no g++")
def test_the_stand_in_keeps_its_limits(exported, tmp_path):
    path, program = exported("classes of pictures"), stock.StandIn(tmp_path)
    request = {"image_bytes": [tiny.PHOTOS[0]]}
    limits = {"max_batch_size": 2, "max_enqueued_batches": 1, "num_batch_threads": 1}
    answers = program.ask(path, [request] * 200 + [{"image_bytes": tiny.PHOTOS}], **limits)
    assert {rows for answer, rows in answers if isinstance(answer, dict)} <= {1, 2}
    assert {answer for answer, _ in answers if isinstance(answer, str)} == {
        "queue full",
        "task size",
    }


@pytest.mark.skipif(stock.BINARY is None, reason="TENSORFLOW_MODEL_SERVER names no binary")
def test_golden_requests_of_tensorflow_serving(exported):
    for name in QUICK:
        assert stock.Stock().verify(exported(name)) == []
