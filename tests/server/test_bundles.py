"""Which versions are served: whole ones, good ones, the newest."""

import shutil

import pytest

from mmkeras.server.bundles import Bundles
from mmkeras.server.refusal import Refusal


@pytest.fixture(scope="module")
def made(tmp_path_factory, write_echo):
    """Three good versions, to be copied."""
    folder = tmp_path_factory.mktemp("made")
    return {number: write_echo(folder / str(number)) for number in (1, 2, 10)}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "echo").mkdir()
    return tmp_path / "echo"


@pytest.fixture
def put(made, folder):
    def copy(number, name=None):
        return shutil.copytree(made[number], folder / (name or str(number)))

    return copy


def numbers(bundles):
    bundles.refresh()
    return bundles.served("echo")


def test_the_newest_by_number_is_served_and_the_old_one_let_go(put, folder):
    put(2)
    bundles = Bundles([folder])
    assert numbers(bundles) == [2]
    put(1)
    assert numbers(bundles) == [2]
    put(10)
    assert numbers(bundles) == [10]
    assert bundles.find("echo").number == 10
    with pytest.raises(Refusal, match=r"Specific\(echo, 2\). Served: {'echo': \[10\]}"):
        bundles.find("echo", 2)
    # Who takes a version away gets the one before.
    shutil.rmtree(folder / "10")
    assert numbers(bundles) == [2]
    shutil.rmtree(folder)
    assert numbers(bundles) == [2]


def test_a_version_that_is_half_copied_waits_until_it_is_whole(put, folder, made):
    put(1)
    bundles = Bundles([folder])
    assert numbers(bundles) == [1]
    files = sorted(file.relative_to(made[2]) for file in made[2].rglob("*") if file.is_file())
    for order in (files, files[::-1]):
        for file in order:
            assert numbers(bundles) == [1]
            (folder / "2" / file).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made[2] / file, folder / "2" / file)
        assert numbers(bundles) == [2]
        assert bundles.status("echo")[0] == (2, "AVAILABLE", "")
        shutil.rmtree(folder / "2")


def test_a_bad_version_never_replaces_a_good_one(put, folder, caplog):
    put(1)
    bundles = Bundles([folder])
    assert numbers(bundles) == [1]
    weights = next(put(2).glob("variables/*.data*"))
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + b"\x99")
    assert numbers(bundles) == [1]
    assert bundles.status("echo", 2) == bundles.status("echo")[:1]
    (_, state, error), *_ = bundles.status("echo")
    assert state == "END"
    assert weights.name in error
    assert "was changed" in error
    # It is looked at again only when something has changed.
    told = len(caplog.records)
    assert numbers(bundles) == [1]
    assert len(caplog.records) == told
    weights.write_bytes(good)
    assert numbers(bundles) == [2]


def test_a_whole_version_that_answers_otherwise_is_served_and_told(folder, write_echo, caplog):
    write_echo(folder / "3")
    golden = folder / "3" / "assets.extra" / "golden.json"
    golden.write_text(golden.read_text().replace('"number": [3]', '"number": [4]'))
    assert numbers(Bundles([folder])) == [3]
    assert "answers otherwise than it did: serving_default: number[0]" in caplog.text


@pytest.mark.parametrize("broken", ["saved_model.pb", "assets.extra/golden.json"])
def test_what_is_damaged_at_the_start_is_told(put, folder, broken):
    (put(1) / broken).write_bytes(b"{")
    bundles = Bundles([folder])
    assert numbers(bundles) == []
    assert bundles.missing().keys() == {"echo"}
    assert broken in bundles.missing()["echo"]


def test_labels_keep_a_version(put, folder):
    put(1)
    put(2)
    bundles = Bundles([folder], {"echo": {"stable": 1, "gone": 7}})
    assert numbers(bundles) == [1, 2]
    assert bundles.find("echo", label="stable").number == 1
    assert bundles.find("echo").number == 2
    with pytest.raises(Refusal, match=r"Specific\(echo, 7\)"):
        bundles.find("echo", label="gone")
    with pytest.raises(Refusal, match=r"label: new. It should be one of \['gone', 'stable'\]"):
        bundles.find("echo", label="new")
    with pytest.raises(ValueError, match=r"should be of the bundles \['echo'\]. Received: 'ohce'"):
        Bundles([folder], {"ohce": {"stable": 1}})


def test_a_version_directory_stays_the_only_one(put, folder):
    bundles = Bundles([put(1)])
    assert numbers(bundles) == [1]
    put(2)
    assert numbers(bundles) == [1]


def test_what_is_no_bundle(tmp_path, put, folder):
    put(1)
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"should be a directory .* Received: .*file"):
        Bundles([tmp_path / "file"])
    with pytest.raises(ValueError, match="should have versions"):
        Bundles([tmp_path])
    other = shutil.copytree(folder, tmp_path / "other" / "echo")
    with pytest.raises(ValueError, match=r"names of their own. Received: 'echo' in .* and in .*"):
        Bundles([folder, other])
