import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def run(monkeypatch, capsys):
    def run_benchmark(*options):
        monkeypatch.syspath_prepend(BENCHMARKS)
        monkeypatch.setattr(sys, "argv", ["fusion.py", "--quick", "--rounds", "1", *options])
        names = runpy.run_path(str(BENCHMARKS / "fusion.py"), run_name="__main__")
        return capsys.readouterr().out, names

    return run_benchmark


def test_it_prints_one_line_and_asks_what_it_says(run):
    out, names = run()
    (line,) = out.splitlines()
    rows = json.loads(line)["fusions"]
    assert rows["concatenate"]["ratio"] == 1
    assert rows["concatenate"]["parameters"] == [2, 8, 0]
    assert rows["gated"]["step_s"] > 0
    assert 0 <= rows["gated"]["accuracy"] <= 1

    kinds = names["KINDS"]
    x, answers, kind = names["scenes"](200, 0)
    colours, shapes = (part.argmax(-1) for part in np.split(x["objects"], 2, axis=-1))
    for row in range(200):
        word = x["question"][row, 2]
        if kind[row] == 0:
            expected = shapes[row][colours[row] == word].item()
        elif kind[row] == 1:
            expected = kinds + colours[row][shapes[row] == word - kinds].item()
        else:
            expected = 2 * kinds + min((shapes[row] == word - kinds).sum(), 3)
        assert answers[row] == expected
    assert answers.max() < names["ANSWERS"]
    assert len(set(answers)) > kinds


def test_the_table_has_a_line_for_each(run):
    out, _ = run("--table", "--steps", "0")
    assert [line.split("|")[1].strip() for line in out.splitlines()[2:]] == [
        "`concatenate`",
        "`gated`",
    ]
