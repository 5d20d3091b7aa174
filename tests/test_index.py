"""The index: found as by comparing everything, kept whole on disk, clear about what is wrong."""

import re

import numpy as np
import pytest

import mmkeras as mm
import mmkeras.index.items

RANDOM = np.random.default_rng(0)


class Letters:
    """Embeds a text as how often it holds each of some letters; what holds none cannot be read."""

    width = 4

    def __init__(self, identity="letters"):
        self.identity = identity

    def embed(self, name, values, batch_size=32):
        values = [str(value) for value in values]
        for row, value in enumerate(values):
            if not set(value) & set("abcd"):
                raise ValueError(f"Input {name!r}, row {row}: holds no letter: {value!r}")
        counts = [[value.count(letter) for letter in "abcd"] for value in values]
        return np.reshape(np.array(counts, "float32"), (-1, self.width))

    def embedding_id(self):
        return self.identity


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def filled(count=200, width=8, **options):
    vectors = RANDOM.normal(size=(count, width))
    index = mm.Index(**options).add_vectors([f"item {i}" for i in range(count)], vectors)
    return index, unit(vectors)


class TestSearch:
    @pytest.mark.parametrize(("queries", "k"), [(1, 1), (5, 3), (70, 10), (2, 200), (3, 500)])
    def test_the_nearest_of_all_best_first(self, monkeypatch, queries, k):
        """Also where queries and items come in several blocks."""
        monkeypatch.setattr(mmkeras.index.nearest, "ROWS", 64)
        monkeypatch.setattr(mmkeras.index.items, "QUERIES", 32)
        index, vectors = filled()
        asked = RANDOM.normal(size=(queries, 8))
        cosines = unit(asked) @ vectors.T
        expected = np.argsort(-cosines, axis=1)[:, :k]
        found = index.search_vectors(asked, k)
        assert [[item for item, _ in row] for row in found] == [
            [f"item {i}" for i in row] for row in expected
        ]
        scores = [[score for _, score in row] for row in found]
        np.testing.assert_allclose(scores, -np.sort(-cosines, axis=1)[:, :k], atol=1e-6)

    def test_half_precision_changes_scores_by_less_than_a_thousandth(self):
        index, vectors = filled(dtype="float16")
        (found,) = index.search_vectors(vectors[7:8], 200)
        assert found[0][0] == "item 7"
        scores = np.array([dict(found)[f"item {i}"] for i in range(200)])
        np.testing.assert_allclose(scores, vectors @ vectors[7], atol=1e-3)

    def test_by_a_value_of_the_task(self):
        index = mm.Index(Letters()).add("text", ["aab", "ccc", "dab"])
        assert [row[0][0] for row in index.search("text", ["ab", "cdcc"], k=1)] == ["aab", "ccc"]
        assert index.search("text", [], k=1) == []

    def test_what_was_added_later_is_found_too(self):
        index = mm.Index(Letters()).add("text", ["a"])
        index.add("text", ["bb", "bd"], items=["two", "both"])
        assert index.items == ["a", "two", "both"]
        assert index.search("text", ["b"], k=1)[0][0] == ("two", 1.0)
        np.testing.assert_array_equal(index.vector("two"), [0, 1, 0, 0])


class TestFiles:
    def test_saved_and_loaded_it_finds_the_same(self, tmp_path):
        for dtype in ("float32", "float16"):
            index, vectors = filled(dtype=dtype)
            index.save(tmp_path / "index.npz")
            again = mm.Index.load(tmp_path / "index.npz")
            assert again.items == index.items
            assert again.search_vectors(vectors[:9], 5) == index.search_vectors(vectors[:9], 5)
            assert again.vector("item 3").dtype == dtype
        assert [path.name for path in tmp_path.iterdir()] == ["index.npz"]

    def test_loaded_with_its_task_it_goes_on(self, tmp_path):
        mm.Index(Letters()).add("text", ["ä a", "b"]).save(tmp_path / "index.npz")
        again = mm.Index.load(tmp_path / "index.npz", Letters()).add("text", ["c"])
        assert again.search("text", ["cc"], k=1) == [[("c", 1.0)]]
        assert again.items[0] == "ä a"

    def test_a_failed_write_leaves_the_old_file(self, tmp_path, monkeypatch):
        path = tmp_path / "index.npz"
        mm.Index(Letters()).add("text", ["a"]).save(path)

        def fail(file, **arrays):
            file.write(b"half")
            raise OSError("No space left on device")

        monkeypatch.setattr(np, "savez", fail)
        with pytest.raises(OSError, match="No space left"):
            mm.Index(Letters()).add("text", ["b"]).save(path)
        assert mm.Index.load(path).items == ["a"]
        assert [each.name for each in tmp_path.iterdir()] == ["index.npz"]

    def test_of_another_task_or_another_training_it_is_refused(self, tmp_path):
        index = mm.Index(Letters()).add("text", ["a"])
        index.save(tmp_path / "index.npz")
        with pytest.raises(ValueError, match=r"the one that made .*index\.npz"):
            mm.Index.load(tmp_path / "index.npz", Letters("trained further"))
        index.task.identity = "trained further"
        with pytest.raises(ValueError, match="after further training"):
            index.search("text", ["a"])

    def test_what_is_no_index(self, tmp_path):
        whole, cut = tmp_path / "whole.npz", tmp_path / "cut.npz"
        filled()[0].save(whole)
        cut.write_bytes(whole.read_bytes()[:-700])
        (tmp_path / "text.npz").write_text("photos")
        np.save(tmp_path / "array.npy", np.ones(3))
        np.savez(tmp_path / "other.npz", names=np.ones(3))
        about = mmkeras.index.items._as_bytes(
            {"format": "index 9", "items": ["a"], "made_by": None}
        )
        np.savez(tmp_path / "newer.npz", about=about, vectors=np.ones((1, 2)))
        for name in ("cut.npz", "text.npz", "array.npy", "other.npz", "newer.npz"):
            with pytest.raises(ValueError, match=rf"should be an index.*{re.escape(name)}"):
                mm.Index.load(tmp_path / name)
        with pytest.raises(FileNotFoundError):
            mm.Index.load(tmp_path / "none.npz")


class TestFolders:
    def test_the_pictures_of_a_folder_in_the_order_of_their_paths(self, tmp_path):
        (tmp_path / "below").mkdir()
        for name in ("b.jpg", "a.PNG", "notes.txt", "below/c.webp"):
            (tmp_path / name).write_bytes(b"")
        index = mm.Index(Letters()).add("image", [tmp_path / "below" / "c.webp"])
        index.add("image", tmp_path / "below" / "..", ["B", "a", "b"])
        assert index.items == [str(tmp_path / "below" / "c.webp"), "B", "a", "b"]
        index = mm.Index(Letters()).add("image", tmp_path)
        assert index.items == [str(tmp_path / name) for name in ("a.PNG", "b.jpg", "below/c.webp")]

    def test_a_folder_without_pictures(self, tmp_path):
        with pytest.raises(ValueError, match="folder or zip with pictures"):
            mm.Index(Letters()).add("image", tmp_path)

    def test_values_that_cannot_be_read(self, monkeypatch):
        monkeypatch.setattr(mmkeras.index.items, "CHUNK", 4)
        values = ["a", "b", "?", "c", "!", "ab", "cd", "d"]
        index = mm.Index(Letters())
        with pytest.raises(ValueError, match=r"'!': Input 'text', row 0: holds no letter"):
            index.add("text", [value for value in values if value != "?"])
        assert len(index) == 0
        with pytest.warns(UserWarning, match=r"skipped 2 wrong entries"):
            index = mm.Index(Letters()).add("text", values, on_error="skip")
        assert index.items == ["a", "b", "c", "ab", "cd", "d"]
        assert index.search("text", ["d"], k=1) == [[("d", 1.0)]]


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda i: mm.Index().search_vectors(np.ones((1, 2))), "Received: no items"),
        (lambda i: mm.Index(dtype="int8"), '`dtype` should be "float32" or "float16"'),
        (lambda i: i.add_vectors(["x"], np.ones((1, 3))), r"shape \(any, 4\). Received: float64"),
        (lambda i: i.search_vectors(np.ones((1, 5))), r"of shape \(1, 5\)"),
        (lambda i: i.search_vectors([["a"] * 4]), r"`vectors` should be numbers"),
        (
            lambda i: i.add_vectors(["x"], [[1, 2, np.nan, 1]]),
            "finite and not zero. Received: row 0",
        ),
        (lambda i: i.search_vectors([[1, 0, 0, 0], [0, 0, 0, 0]]), "not zero. Received: row 1"),
        (lambda i: i.add_vectors(["x", "y"], np.ones((1, 4))), "should be 1 strings. Received: 2"),
        (lambda i: i.add("text", ["c", "a"]), "new and different. Received twice: 'a'"),
        (lambda i: i.add("text", ["c", "c"]), "new and different. Received twice: 'c'"),
        (lambda i: i.add("text", [b"c"]), "given where values are no strings.*bytes"),
        (lambda i: i.vector("z"), "one of the 2 items. Received: item='z'"),
        (lambda i: i.search("text", "a"), "should be a list. Received: values='a'"),
        (lambda i: i.search("text", ["a"], k=0), "`k` should be a whole number above 0"),
        (lambda i: i.approximate(0), "`probes` should be a whole number above 0 or None"),
        (lambda i: mm.Index().add("text", ["a"]), "should have a task, which embeds"),
        (lambda i: mm.Index().approximate(), "should hold items to part into clusters"),
    ],
)
def test_what_is_wrong_is_said(action, message):
    with pytest.raises(ValueError, match=message):
        action(mm.Index(Letters()).add("text", ["a", "b"]))


def test_without_faiss_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"mmkeras\[ann\]"):
        filled()[0].approximate()


class TestClusters:
    def test_all_clusters_hold_all_items(self):
        pytest.importorskip("faiss")
        index, vectors = filled(400)

        def found(k=5):
            return [[item for item, _ in row] for row in index.search_vectors(vectors[:20], k)]

        exact = found()
        index.approximate(probes=1000)
        assert found() == exact
        index.approximate(probes=1)
        assert found() != exact
        assert [row[0] for row in found()] == [row[0] for row in exact]
        assert all(len(row) < 400 for row in found(400))
        index.approximate(None)
        assert found() == exact

    def test_saved_with_clusters_and_added_to(self, tmp_path):
        pytest.importorskip("faiss")
        index, vectors = filled(400)
        index.approximate(probes=2).save(tmp_path / "index.npz")
        again = mm.Index.load(tmp_path / "index.npz")
        assert again.search_vectors(vectors[:9]) == index.search_vectors(vectors[:9])
        again.add_vectors(["new"], vectors[:1] + 1e-4)
        assert {"new", "item 0"} == {item for item, _ in again.search_vectors(vectors[:1], 2)[0]}
