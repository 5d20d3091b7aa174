"""The benchmark of the server runs, tiny, and prints one line of JSON."""

import json
import runpy
import sys
from pathlib import Path

import pytest
import tensorflow as tf

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def test_serve(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", ["serve.py", "--quick"])
    runpy.run_path(str(BENCHMARKS / "serve.py"), run_name="__main__")
    (line,) = capsys.readouterr().out.splitlines()
    result = json.loads(line)
    assert result["benchmark"] == "serve"
    assert result["rates"]["batched"][0]["wrong"] == 0
    assert result["many"]["requests"] == 200
    assert result["many"]["wrong"] == result["many"]["lost"] == 0
    assert result["ratio_stepped"] > 0
    assert result["ratio_whole"] > 0


def test_load_is_for_this_machine_only(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import load

    with pytest.raises(ValueError, match=r"for this machine only. Received: http://192\.0\.2\.1"):
        load.Target("http://192.0.2.1:8501", "m", [b"{}"], lambda number, answer: True)
