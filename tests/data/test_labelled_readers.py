import gzip
import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mmkeras.data import (
    hold_out,
    read,
    read_image_folder,
    read_labelled_text,
    read_mnist,
    read_mr_polarity,
    read_trec,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def data(name):
    if not (DATA / name).exists():
        pytest.skip(f"needs ../shared/data/{name}")
    return str(DATA / name)


def lay_out(folder, files):
    """Files by path; images are never opened, so they hold nothing."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


class TestLabelledText:
    def test_records(self, tmp_path):
        text = "\ufeff1 a stirring , funny film .\r\n\r\n0\tdull , \n"
        folder = lay_out(tmp_path, {"x.txt": text})
        assert read_labelled_text(f"{folder}/x.txt") == {
            "text": ["a stirring , funny film .", "dull ,"],
            "label": ["1", "0"],
        }

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("1", "should be `LABEL text`. Received: '1'"),
            ("2 fine", r"the label should be one of \['0', '1'\]. Received: '2'"),
            ("it is fine", r"the label should be one of \['0', '1'\]. Received: 'it'"),
            (b"1 caf\xe9", "'utf-8' codec can't decode"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, line, message):
        line = line if isinstance(line, bytes) else line.encode()
        folder = lay_out(tmp_path, {"x.txt": b"1 good\n" + line})
        with pytest.raises(ValueError, match=f"x.txt, line 2: {message}"):
            read_labelled_text(f"{folder}/x.txt", labels=["0", "1"])
        with pytest.warns(UserWarning, match=r"x.txt: skipped 1 wrong entries"):
            found = read_labelled_text(f"{folder}/x.txt", ["0", "1"], on_error="skip")
        assert found == {"text": ["good"], "label": ["1"]}

    def test_nothing(self, tmp_path):
        folder = lay_out(tmp_path, {"x.txt": "\n"})
        with pytest.raises(ValueError, match=r"x.txt: holds no text with a label"):
            read_labelled_text(f"{folder}/x.txt")

    @settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        st.lists(
            st.tuples(
                st.text(st.characters(categories=["L", "N", "P"]), min_size=1),
                st.text(st.characters(exclude_categories=["Cs", "Zl", "Zp", "Cc"])).filter(
                    lambda text: text.strip()
                ),
            ),
            min_size=1,
            max_size=5,
        )
    )
    def test_what_is_written_is_read(self, tmp_path, rows):
        folder = lay_out(tmp_path, {"x.txt": "".join(f"{label} {text}\n" for label, text in rows)})
        assert read_labelled_text(f"{folder}/x.txt") == {
            "text": [text.strip() for _, text in rows],
            "label": [label for label, _ in rows],
        }


class TestSST:
    def test_layout(self, tmp_path):
        files = {"stsa.binary.train": "1 good\n0 bad\n", "stsa.fine.dev": "4 great\n2 so so\n"}
        folder = lay_out(tmp_path, files)
        train, valid, test = read("sst", folder)
        assert train == {"text": ["good", "bad"], "label": ["1", "0"]}
        assert valid is test is None
        train, valid, test = read("sst", folder, labels="fine")
        assert (train, valid["label"], test) == (None, ["4", "2"], None)
        with pytest.raises(ValueError, match=r"one of \['binary', 'fine'\]. Received: labels='2'"):
            read("sst", folder, labels="2")

    def test_labels_are_checked(self, tmp_path):
        folder = lay_out(tmp_path, {"stsa.binary.train": "1 good\n4 great\n"})
        with pytest.raises(ValueError, match=r"stsa.binary.train, line 2: the label should be"):
            read("sst", folder)

    @pytest.mark.parametrize(
        ("labels", "sizes", "positive"), [("binary", (6920, 872), 3610), ("fine", (8544, 1101), 0)]
    )
    def test_real(self, labels, sizes, positive):
        train, valid, test = read("sst", data("sst"), labels=labels)
        assert (len(train["text"]), len(valid["text"]), test) == (*sizes, None)
        if positive:
            assert train["label"].count("1") == positive
            assert len({word for text in train["text"] for word in text.split()}) == 14828
        else:
            assert set(train["label"]) == set("01234")


class TestTREC:
    def test_both_labels_and_both_encodings(self, tmp_path):
        lines = b"LOC:city Where is Ulm ?\nLOC:other Where is K\xf6ln ?\nHUM:ind Who was "
        folder = lay_out(tmp_path, {"TREC.train": lines + "Zoë ?\n".encode()})
        train, valid, test = read("trec", folder)
        assert train == {
            "text": ["Where is Ulm ?", "Where is Köln ?", "Who was Zoë ?"],
            "label": ["LOC", "LOC", "HUM"],
            "fine_label": ["LOC:city", "LOC:other", "HUM:ind"],
        }
        assert valid is test is None

    def test_original_names(self, tmp_path):
        files = {"train_5500.label": "LOC:city Where ?\n", "TREC_10.label": "HUM:ind Who ?\n"}
        train, _, test = read("trec", lay_out(tmp_path, files))
        assert (train["label"], test["label"]) == (["LOC"], ["HUM"])

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("LOC Where is Ulm ?", "should be `COARSE:fine question`"),
            (":city Where is Ulm ?", "should be `COARSE:fine question`"),
            ("LOC: Where is Ulm ?", "should be `COARSE:fine question`"),
            ("LOC:city", "should be `LABEL text`"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, line, message):
        folder = lay_out(tmp_path, {"x": f"HUM:ind Who ?\n{line}\n"})
        with pytest.raises(ValueError, match=f"x, line 2: {message}"):
            read_trec(f"{folder}/x")
        with pytest.warns(UserWarning, match="skipped 1 wrong entries"):
            assert read_trec(f"{folder}/x", on_error="skip")["label"] == ["HUM"]

    def test_real(self):
        train, valid, test = read("trec", data("trec"))
        assert (len(train["text"]), len(set(train["text"]))) == (5452, 5381)
        assert set(train["label"]) == {"ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM"}
        assert len(set(train["fine_label"])) == 50
        assert len({word for text in train["text"] for word in text.lower().split()}) == 8678
        assert any("sister\xf0city" in text for text in train["text"])
        assert valid is test is None


class TestPolarity:
    def test_records(self, tmp_path):
        files = {"rt-polarity.neg": b"dull .\ncaf\xe9 \n", "rt-polarity.pos": "fine , naïve .\n\n"}
        folder = lay_out(tmp_path / "rt-polaritydata", files)
        train, valid, test = read("mr_polarity", tmp_path)
        assert train == read_mr_polarity(folder)
        assert train == {
            "text": ["dull .", "café", "fine , naïve ."],
            "label": ["negative", "negative", "positive"],
        }
        assert valid is test is None

    def test_what_is_missing_is_named(self, tmp_path):
        folder = lay_out(tmp_path, {"rt-polarity.neg": "dull .\n", "rt-polarity.pos": "\n"})
        with pytest.raises(ValueError, match=r"rt-polarity.pos: holds no sentence"):
            read_mr_polarity(folder)
        (tmp_path / "rt-polarity.pos").unlink()
        with pytest.raises(FileNotFoundError, match=r"rt-polarity.pos"):
            read_mr_polarity(folder)

    def test_real(self):
        train, _, _ = read("mr_polarity", data("mr_polarity"))
        assert train["label"].count("positive") == 4354
        assert train["label"].count("negative") == 4335
        rest, held = hold_out(train, 0.1, by="text")
        assert not set(rest["text"]) & set(held["text"])


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"never opened")
    return str(path)


NAMES = ("dog/b.PNG", "cat/a.jpg", "cat/young/c.webp")


class TestImageFolder:
    def test_folder(self, tmp_path):
        others = ("README.md", "cat/notes.txt", "cat/.hidden.jpg", "cat/Thumbs.db")
        folder = lay_out(tmp_path, dict.fromkeys([*NAMES, *others], ""))
        expected = {
            "image": [f"{folder}/{name}" for name in sorted(NAMES)],
            "label": ["cat", "cat", "dog"],
        }
        assert read_image_folder(folder) == expected
        assert read("image_folder", folder) == (expected, None, None)

    def test_zip(self, tmp_path):
        path = zipped(
            tmp_path / "x.zip", "pets/", *(f"pets/{name}" for name in NAMES), "__MACOSX/a/b"
        )
        assert read_image_folder(path) == {
            "image": [f"{path}/pets/{name}" for name in sorted(NAMES)],
            "label": ["cat", "cat", "dog"],
        }
        with zipfile.ZipFile(path) as archive:
            assert all(
                name.removeprefix(f"{path}/") in archive.namelist()
                for name in read_image_folder(path)["image"]
            )

    def test_folder_in_a_zip(self, tmp_path):
        path = zipped(tmp_path / "x.zip", "train/cat/a.jpg", "train/dog/b.jpg", "test/cat/c.jpg")
        found = read_image_folder(f"{path}/train")
        assert found["image"] == [f"{path}/train/cat/a.jpg", f"{path}/train/dog/b.jpg"]

    @pytest.mark.parametrize("top", ["", "data/"])
    def test_splits(self, tmp_path, top):
        names = ("train/cat/a.jpg", "train/dog/b.jpg", "val/dog/c.jpg")
        path = zipped(tmp_path / "x.zip", *(top + name for name in names))
        folder = lay_out(tmp_path / "x", dict.fromkeys((top + name for name in names), ""))
        for place in (path, folder):
            train, valid, test = read("image_folder", place)
            assert train["label"] == ["cat", "dog"]
            assert valid == {"image": [f"{place}/{top}val/dog/c.jpg"], "label": ["dog"]}
            assert test is None

    def test_a_class_of_trains(self, tmp_path):
        folder = lay_out(tmp_path, {"train/a.jpg": "", "ship/b.jpg": ""})
        assert read("image_folder", folder)[0]["label"] == ["ship", "train"]

    def test_an_image_in_no_class(self, tmp_path):
        folder = lay_out(tmp_path, {"a.jpg": "", "dog/b.jpg": ""})
        with pytest.raises(ValueError, match=r"a.jpg: should be in the folder of a class"):
            read_image_folder(folder)
        with pytest.warns(UserWarning, match="skipped 1 wrong entries"):
            assert read_image_folder(folder, on_error="skip")["label"] == ["dog"]

    def test_none(self, tmp_path):
        path = zipped(tmp_path / "x.zip", "cat/a.txt")
        for place in (path, f"{path}/dog", tmp_path / "y"):
            (tmp_path / "y").mkdir(exist_ok=True)
            with pytest.raises(ValueError, match="holds no image in the folder of a class"):
                read_image_folder(place)
        with pytest.raises(ValueError, match=r"`images` should be a folder or a zip. Received"):
            read_image_folder(tmp_path / "nowhere")

    def test_real(self):
        path = data("small_images/cifar10_train_subset.zip")
        train, valid, test = read("image_folder", path)
        assert len(train["image"]) == 5000
        assert {train["label"].count(label) for label in set(train["label"])} == {500}
        assert {"airplane", "automobile", "bird", "cat", "deer"} < set(train["label"])
        assert len(set(train["label"])) == 10
        assert valid is test is None


def idx(array, kind=8):
    header = struct.pack(f">HBB{array.ndim}I", 0, kind, array.ndim, *array.shape)
    return header + array.tobytes()


PIXELS = np.random.default_rng(0).integers(0, 256, (3, 4, 5), dtype="uint8")
CLASSES = np.array([7, 0, 9], "uint8")


class TestMNIST:
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_records(self, tmp_path, pack):
        files = {"images": pack(idx(PIXELS)), "labels": pack(idx(CLASSES))}
        folder = lay_out(tmp_path, files)
        found = read_mnist(f"{folder}/images", f"{folder}/labels")
        assert found["label"] == ["7", "0", "9"]
        pictures = [PIL.Image.open(io.BytesIO(each)) for each in found["image"]]
        np.testing.assert_array_equal(np.stack([np.asarray(each) for each in pictures]), PIXELS)

    def test_layout(self, tmp_path):
        files = {
            "train-images-idx3-ubyte.gz": gzip.compress(idx(PIXELS)),
            "train-labels-idx1-ubyte.gz": gzip.compress(idx(CLASSES)),
            "t10k-images.idx3-ubyte": idx(PIXELS[:2]),
            "t10k-labels.idx1-ubyte": idx(CLASSES[:2]),
        }
        train, valid, test = read("mnist", lay_out(tmp_path, files))
        assert (train["label"], valid, test["label"]) == (["7", "0", "9"], None, ["7", "0"])

    @pytest.mark.parametrize(
        ("images", "labels", "message"),
        [
            (idx(CLASSES), idx(CLASSES), "images: should be an IDX file of bytes in 3 dimensions"),
            (idx(PIXELS, 13), idx(CLASSES), "images: should be an IDX file of bytes in 3"),
            (b"\0\0\x08\3", idx(CLASSES), "images: should be an IDX file of bytes in 3"),
            (b"", idx(CLASSES), "images: should be an IDX file of bytes in 3 dimensions"),
            (idx(PIXELS), idx(PIXELS), "labels: should be an IDX file of bytes in 1 dimensions"),
            (idx(PIXELS)[:-1], idx(CLASSES), "images: should hold 60 values, .* Received: 59"),
            (idx(PIXELS), idx(CLASSES) + b"x", "labels: should hold 3 values, .* Received: 4"),
            (idx(PIXELS), idx(CLASSES[:2]), "labels: should hold a label for each of 3 images"),
            (idx(PIXELS[:0]), idx(CLASSES[:0]), "images: holds no image"),
            (
                gzip.compress(idx(PIXELS), mtime=0)[:-9],
                idx(CLASSES),
                "images: Compressed file ended",
            ),
            (b"\x1f\x8bwhatever", idx(CLASSES), "images: "),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, images, labels, message):
        folder = lay_out(tmp_path, {"images": images, "labels": labels})
        with pytest.raises(ValueError, match=message):
            read_mnist(f"{folder}/images", f"{folder}/labels")

    def test_real(self):
        train, valid, test = read("mnist", data("small_images"))
        assert len(train["image"]) == 12000
        assert {train["label"].count(digit) for digit in "0123456789"} == {1200}
        assert PIL.Image.open(io.BytesIO(train["image"][0])).size == (28, 28)
        assert valid is test is None


@pytest.mark.parametrize("layout", ["sst", "trec", "mr_polarity", "mnist"])
def test_a_folder_without_the_layout(tmp_path, layout):
    with pytest.raises(ValueError, match=f"in the layout '{layout}', but none of its files is"):
        read(layout, tmp_path)
