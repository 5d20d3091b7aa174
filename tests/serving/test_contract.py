"""What the export of every task keeps, in a process that has no mmkeras."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
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
