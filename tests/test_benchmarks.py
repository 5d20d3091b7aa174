"""Every benchmark runs, tiny, and prints one line of JSON."""

import importlib.util
import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf

pytestmark = pytest.mark.slow

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
TORCH = all(importlib.util.find_spec(name) for name in ("torch", "transformers"))
NO_PYTHON = ["--huggingface-python", "no-such-python"]


@pytest.fixture(scope="module", autouse=True)
def _unoptimized():
    """Optimizing graphs that run once takes longer than running them."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    yield
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


@pytest.fixture
def run(monkeypatch, capsys):
    def run_benchmark(name, *options):
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.setattr(sys, "argv", [name, "--quick", *options])
        runpy.run_path(str(BENCHMARKS / name), run_name="__main__")
        (line,) = capsys.readouterr().out.splitlines()
        result = json.loads(line)
        assert result["benchmark"] == Path(name).stem
        assert result["machine"]["cores"] >= 1
        assert "tensorflow" in result["versions"]
        return result

    return run_benchmark


def test_decoding(run):
    result = run("decoding.py", "--rounds", "1", *NO_PYTHON)
    for name in ("greedy", "beam4", "no_cache"):
        assert result[f"{name}_tokens_per_s"] > 0
        assert result["best_tokens_per_s"][name] > 0
    assert result["ratio_no_cache"] > 0
    assert result["huggingface_greedy_tokens_per_s"] is None
    assert result["ratio_greedy"] is result["ratio_beam4"] is None
    assert "no-such-python" in result["huggingface_missing"]


def test_training_step(run):
    peer = [] if TORCH else NO_PYTHON
    result = run("training_step.py", "--rounds", "1", *peer)
    assert result["step_s"] > 0
    assert result["share_of_matmul_peak"] > 0
    assert (result["ratio"] is None) == (not TORCH)


def test_audio(run):
    result = run("audio.py", "--rounds", "1", *NO_PYTHON)
    assert result["log_mel_s"] > 0
    assert result["ratio_bare"] > 0
    assert result["ratio_bare_dataset"] > 0


def test_answering(run):
    peer = [] if TORCH else NO_PYTHON
    result = run("answering.py", "--rounds", "1", *peer)
    for name in ("train", "infer"):
        assert result[f"{name}_questions_per_s"] > 0
        assert (result[f"ratio_{name}"] is None) == (not TORCH)


def test_speech_training(run):
    result = run("speech_training.py", "--rounds", "1", *NO_PYTHON)
    assert result["ratio"] is None
    assert 0 < result["padding"] < result["padding_unsorted"] < 1


def test_recognition(run):
    result = run("recognition.py", "--rounds", "1")
    assert result["real_time_factor_greedy_1"] > 0
    assert result["real_time_factor_greedy_16"] > 0


def test_streaming(run):
    result = run("streaming.py", "--rounds", "1")
    for name in ("greedy", "export_greedy"):
        assert 0 < result[f"{name}_p50_ms"] <= result[f"{name}_p99_ms"]


def test_index(run):
    result = run("index.py", "--rounds", "1")
    assert result["one_ms"] > 0
    assert result["recall_half"] > 0.9
    assert ("approximate_build_s" in result) == bool(importlib.util.find_spec("faiss"))


def test_input(run):
    result = run("input.py", "--rounds", "1")
    assert result["photos"] > 0
    assert result["ratio_pillow"] > 0
    assert result["ratio_decode_jpeg"] > 0


def test_input_of_a_folder_without_photos(run, tmp_path):
    with pytest.raises(SystemExit, match="JPEG"):
        run("input.py", "--images", str(tmp_path))


def test_shards(run):
    result = run("shards.py", "--rounds", "1")
    assert result["cold"]
    for ratio in ("bare", "bare_shuffled", "files", "keras"):
        assert result[f"ratio_{ratio}"] > 0


def test_memory(run):
    result = run("memory.py")
    assert 0.5 < result["ratio"] < 2
    assert result["peak_megabytes"] > 100


SETTINGS = {
    "encoder": [32, 1, 2],
    "image_size": 32,
    "width": 32,
    "depth": 1,
    "heads": 2,
    "vocabulary": 50,
    "tokens": 5,
    "patch": 16,
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "batch": 2,
    "peak_side": 16,
}


def ask_peer(*names):
    command = [sys.executable, str(BENCHMARKS / "huggingface.py"), json.dumps(SETTINGS)]
    lines = "".join(f"{name}\n" for name in names)
    hello, *answers = subprocess.run(
        command, input=lines, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return json.loads(hello), [float(answer) for answer in answers]


@pytest.mark.skipif(TORCH, reason="torch and transformers are there")
def test_the_peer_says_what_is_missing():
    hello, answers = ask_peer()
    assert "No module named" in hello["missing"]
    assert not answers


@pytest.mark.skipif(not TORCH, reason="needs torch and transformers")
def test_the_peer_runs():
    hello, answers = ask_peer("greedy", "beam4", "train", "matmul")
    assert set(hello["versions"]) == {"torch", "transformers"}
    assert len(answers) == 4
    assert all(seconds > 0 for seconds in answers)


def test_options(run):
    result = run("options.py", "--rounds", "1")
    plain = result["options"]["plain"]
    assert (plain["time"], plain["memory"]) == (1, 1)
    assert plain["step_s"] > 0
    assert plain["learn"] > 1e5
