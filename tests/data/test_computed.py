"""Features from files, by the names of pictures."""

import numpy as np
import pytest

import mmkeras as mm


def save(path, names, features, **more):
    np.savez(path, names=np.array(names), features=np.asarray(features), **more)
    return path


def test_in_the_order_of_the_images(tmp_path):
    one = save(tmp_path / "one.npz", ["a.jpg", "b.jpg"], [[1.0, 2], [3, 4]])
    two = save(tmp_path / "two.npz", ["c.jpg"], [[5.0, 6]])
    found = mm.read_features([one, two], ["photos.zip/c.jpg", "x/a.jpg", "b.jpg", "y/a.jpg"])
    assert found.dtype == "float32"
    assert found.tolist() == [[5, 6], [1, 2], [3, 4], [1, 2]]
    assert mm.read_features(str(one), ["b.jpg"]).tolist() == [[3, 4]]


def test_quantised_ones_are_values(tmp_path):
    path = save(tmp_path / "a.npz", ["a"], np.array([[0, 10]], "uint8"), scale=0.5, zero_point=4)
    assert mm.read_features(path, ["a"]).tolist() == [[-2, 3]]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"features": np.ones((1, 2))}, "should hold `names`.*'features'"),
        ({"names": np.array(["a"])}, "should hold `features`"),
        ({"names": np.array(["a"]), "features": np.ones((2, 2))}, "Received: 2 for 1"),
        (
            {"names": np.array(["b"]), "features": np.ones((1, 2))},
            r"without 1 of 1, first: \['a'\]",
        ),
    ],
)
def test_wrong_files(tmp_path, arrays, message):
    np.savez(tmp_path / "wrong.npz", **arrays)
    with pytest.raises(ValueError, match=rf"(?s)wrong\.npz.*{message}"):
        mm.read_features(tmp_path / "wrong.npz", ["a"])


def test_no_npz(tmp_path):
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ValueError, match=r"text\.npz should be an \.npz file"):
        mm.read_features(tmp_path / "text.npz", ["a"])
    with pytest.raises(FileNotFoundError):
        mm.read_features(tmp_path / "none.npz", ["a"])
