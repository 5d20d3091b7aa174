import json
import zipfile
from pathlib import Path

import pytest

from mmkeras.data import read, read_coco, read_flickr, read_manifest

FLICKR = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"


def write(folder, **files):
    """Files by name, with `__` for the dot."""
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def images(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"never opened")


def zipped(path, *names):
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, b"never opened")


class TestRead:
    def test_unknown_layout(self, tmp_path):
        with pytest.raises(ValueError, match=r"`layout` should be one of .*Received: layout='voc'"):
            read("voc", tmp_path)

    @pytest.mark.parametrize("path", [None, "no/such/folder"])
    def test_path_that_is_not_there(self, path):
        with pytest.raises(ValueError, match=r"`path` should be where the data set is. Received"):
            read("coco", path)

    @pytest.mark.parametrize("layout", ["coco", "flickr8k", "flickr30k"])
    def test_folder_without_the_layout(self, tmp_path, layout):
        with pytest.raises(ValueError, match=f"in the layout '{layout}', but none of its files"):
            read(layout, tmp_path)

    def test_on_error_is_checked(self, tmp_path):
        write(tmp_path, photos__csv="image,caption\n")
        with pytest.raises(ValueError, match=r'`on_error` should be "raise" or "skip"'):
            read("manifest", tmp_path / "photos.csv", on_error="ignore")

    def test_world(self):
        train, valid, test = read("world", train=3, valid=2, test=1, size=16)
        assert [len(each["image"]) for each in (train, valid, test)] == [3, 2, 1]


def coco(images=((1, "a.jpg"), (2, "b.jpg")), captions=((1, 1, "a dog"), (2, 2, "a cat"))):
    return json.dumps(
        {
            "info": {"year": 2014},
            "images": [{"id": i, "file_name": name, "height": 1} for i, name in images],
            "annotations": [{"id": i, "image_id": at, "caption": c} for i, at, c in captions],
        }
    )


class TestCoco:
    def test_captions_of_an_image_are_together(self, tmp_path):
        three = ((7, 2, "a cat"), (8, 1, "a dog\n"), (9, 2, " cats "))
        write(tmp_path, captions__json=coco(captions=three))
        images(tmp_path / "photos", "a.jpg", "b.jpg")
        assert read_coco(tmp_path / "captions.json", tmp_path / "photos") == {
            "image": [f"{tmp_path}/photos/a.jpg", f"{tmp_path}/photos/b.jpg"],
            "caption": [["a dog"], ["a cat", "cats"]],
        }

    def test_layout_on_disk(self, tmp_path):
        (tmp_path / "annotations").mkdir()
        write(tmp_path / "annotations", captions_train2014__json=coco())
        write(tmp_path / "annotations", captions_val2014__json=coco())
        zipped(tmp_path / "train2014.zip", "train2014/", "train2014/a.jpg", "train2014/b.jpg")
        images(tmp_path, "val2014/a.jpg", "val2014/b.jpg")
        train, valid, test = read("coco", tmp_path)
        assert train["image"][0] == f"{tmp_path}/train2014.zip/train2014/a.jpg"
        assert valid["image"][0] == f"{tmp_path}/val2014/a.jpg"
        assert test is None

    def test_layout_of_another_year_with_images_elsewhere(self, tmp_path):
        write(tmp_path, captions_val2017__json=coco())
        images(tmp_path, "photos/a.jpg", "photos/b.jpg")
        train, valid, test = read("coco", tmp_path, year=2017, images=tmp_path / "photos")
        assert train is None
        assert test is None
        assert len(valid["image"]) == 2

    def test_byte_order_mark(self, tmp_path):
        write(tmp_path, captions__json=b"\xef\xbb\xbf" + coco().encode())
        images(tmp_path, "a.jpg", "b.jpg")
        assert read_coco(tmp_path / "captions.json", tmp_path)["caption"] == [["a dog"], ["a cat"]]

    def test_folders_tell_images_of_the_same_name_apart(self, tmp_path):
        write(tmp_path, captions__json=coco(images=((1, "x/a.jpg"), (2, "y/a.jpg"))))
        images(tmp_path / "photos", "x/a.jpg", "y/a.jpg")
        found = read_coco(tmp_path / "captions.json", tmp_path / "photos")["image"]
        assert found == [f"{tmp_path}/photos/x/a.jpg", f"{tmp_path}/photos/y/a.jpg"]
        write(tmp_path, captions__json=coco(images=((1, "a.jpg"), (2, "y/a.jpg"))))
        with pytest.raises(ValueError, match=r"images\[0\]: the image 'a.jpg' could be any of"):
            read_coco(tmp_path / "captions.json", tmp_path / "photos")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (coco(images=((1, "a.jpg"), (2, "c.jpg"))), r"images\[1\]: there is no image 'c.jpg'"),
            (coco(images=((1, "a.jpg"), (1, "b.jpg"))), r"images\[1\]: image id 1 comes twice"),
            (coco(images=((1, "a.jpg"), (2, None))), r"images\[1\]: `file_name` should be of type"),
            (coco(captions=((1, 1, "x"), (1, 2, "y"))), r"ns\[1\]: annotation id 1 comes twice"),
            (coco(captions=((1, 1, "x"), (2, 3, "y"))), r"ns\[1\]: image id 3 is not among"),
            (coco(captions=((1, 1, "x"), (2, 2, " "))), r"ns\[1\]: `caption` is empty"),
            (coco(captions=((1, 1, "x"), (2, 2, 3))), r"ns\[1\]: `caption` should be of type str"),
            (coco(captions=((1, 1, "x"),)), r"image id 2: '.*b.jpg' has no captions"),
            (coco(images=()), r"annotations\[0\]: image id 1 is not among `images`"),
            (coco(images=(), captions=()), "holds no image with a caption"),
            ("[]", "should be an object with lists `images`, `annotations`"),
            ('{"images": []}', "should be an object with lists"),
            ("{", "not valid JSON"),
            ("", "not valid JSON"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, content, message):
        write(tmp_path, captions__json=content)
        images(tmp_path, "a.jpg", "b.jpg")
        with pytest.raises(ValueError, match=f"captions.json.*{message}"):
            read_coco(tmp_path / "captions.json", tmp_path)

    def test_skipping_counts_and_keeps_the_good(self, tmp_path):
        write(
            tmp_path,
            captions__json=coco(
                images=((1, "a.jpg"), (2, "gone.jpg"), (3, "b.jpg")),
                captions=((1, 1, "a dog"), (2, 2, "a cat"), (3, 3, ""), (4, 9, "a bird")),
            ),
        )
        images(tmp_path, "a.jpg", "b.jpg")
        with pytest.warns(UserWarning, match=r"(?s)skipped 4 wrong entries.*gone.jpg.*empty.*9"):
            records = read_coco(tmp_path / "captions.json", tmp_path, on_error="skip")
        assert records == {"image": [f"{tmp_path}/a.jpg"], "caption": [["a dog"]]}


TOKENS = "a.jpg#0\tA dog .\na.jpg#1\tA wet dog .\nb.jpg#0\tA cat .\nc.jpg#0\tA bird .\n"


class TestFlickr:
    def test_split(self, tmp_path):
        write(tmp_path, tokens__txt=TOKENS, split__txt="b.jpg\na.jpg\n")
        images(tmp_path / "photos", "a.jpg", "b.jpg", "c.jpg")
        found = read_flickr(
            tmp_path / "tokens.txt", tmp_path / "split.txt", str(tmp_path / "photos")
        )
        assert found == {
            "image": [f"{tmp_path}/photos/b.jpg", f"{tmp_path}/photos/a.jpg"],
            "caption": [["A cat ."], ["A dog .", "A wet dog ."]],
        }

    def test_windows_text(self, tmp_path):
        tokens = b"\xef\xbb\xbf" + TOKENS.replace("\n", "\r\n").encode()
        write(tmp_path, tokens__txt=tokens, split__txt=b"\xef\xbb\xbfa.jpg\r\n\r\nb.jpg\r\n")
        images(tmp_path, "a.jpg", "b.jpg")
        found = read_flickr(tmp_path / "tokens.txt", tmp_path / "split.txt", tmp_path)
        assert found["caption"] == [["A dog .", "A wet dog ."], ["A cat ."]]

    def test_layout_on_disk(self, tmp_path):
        write(
            tmp_path,
            Flickr8k__token__txt=TOKENS,
            Flickr_8k__trainImages__txt="a.jpg\n",
            Flickr_8k__devImages__txt="b.jpg\n",
        )
        zipped(tmp_path / "x.zip", "Flicker8k_Dataset/a.jpg", "__MACOSX/Flicker8k_Dataset/a.jpg")
        zipped(tmp_path / "y.zip", "b.jpg")
        train, valid, test = read("flickr8k", tmp_path)
        assert train["image"] == [f"{tmp_path}/x.zip/Flicker8k_Dataset/a.jpg"]
        assert valid["image"] == [f"{tmp_path}/y.zip/b.jpg"]
        assert test is None

    def test_layout_of_flickr30k(self, tmp_path):
        write(tmp_path, results_20130124__token=TOKENS, train__txt="a\nb\n", test__txt="c\n")
        images(tmp_path / "flickr30k-images", "a.jpg", "b.jpg", "c.jpg")
        train, valid, test = read("flickr30k", tmp_path)
        assert len(train["image"]) == 2
        assert valid is None
        assert test["image"] == [f"{tmp_path}/flickr30k-images/c.jpg"]

    @pytest.mark.parametrize(
        ("tokens", "split", "message"),
        [
            (TOKENS + "d.jpg A dog .\n", "a.jpg", "tokens.txt, line 5: should be `name.jpg#0<TAB>"),
            (
                TOKENS + "d.jpg\tA dog .\n",
                "a.jpg",
                "tokens.txt, line 5: should be `name.jpg#0<TAB>",
            ),
            (TOKENS + "a.jpg#1\tDog .\n", "a.jpg", "tokens.txt, line 5: 'a.jpg#1' comes twice"),
            (TOKENS + "a.jpg#2\t\n", "a.jpg", "tokens.txt, line 5: `caption` is empty"),
            (TOKENS.encode() + b"\xff\t\n", "a.jpg", "tokens.txt, line 5: 'utf-8' codec"),
            (TOKENS, "a.jpg\nx.jpg\n", "split.txt, line 2: 'x.jpg' has no captions"),
            (TOKENS, "a.jpg\n\na.jpg\n", "split.txt, line 3: 'a.jpg' comes twice"),
            (TOKENS, "a.jpg\nb.jpg\n", "split.txt, line 2: there is no image 'b.jpg' in"),
            (TOKENS, "", "split.txt: holds no image with a caption"),
            ("", "a.jpg", "split.txt, line 1: 'a.jpg' has no captions"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, tokens, split, message):
        write(tmp_path, tokens__txt=tokens, split__txt=split)
        images(tmp_path / "photos", "a.jpg")
        with pytest.raises(ValueError, match=message):
            read_flickr(tmp_path / "tokens.txt", tmp_path / "split.txt", tmp_path / "photos")

    def test_skipping_counts_and_keeps_the_good(self, tmp_path):
        write(
            tmp_path, tokens__txt=TOKENS + "a.jpg#2\t \nnothing\n", split__txt="a.jpg\nb.jpg\nx\n"
        )
        images(tmp_path / "photos", "a.jpg")
        with pytest.warns(
            UserWarning, match=r"(?s)skipped 4 wrong entries.*line 5.*line 6.*line 3"
        ):
            found = read_flickr(
                tmp_path / "tokens.txt",
                tmp_path / "split.txt",
                tmp_path / "photos",
                on_error="skip",
            )
        assert found["caption"] == [["A dog .", "A wet dog ."]]

    def test_images_that_are_no_images(self, tmp_path):
        write(tmp_path, tokens__txt=TOKENS, split__txt="a.jpg\n", broken__zip=b"PK\3\4 and no more")
        paths = tmp_path / "tokens.txt", tmp_path / "split.txt"
        for wrong in ("broken.zip", "tokens.txt", "nowhere"):
            with pytest.raises(ValueError, match=f"should be a folder or a zip. Received.*{wrong}"):
                read_flickr(*paths, tmp_path / wrong)
        with pytest.raises(FileNotFoundError, match="nowhere"):
            read_flickr(tmp_path / "nowhere", paths[1], tmp_path)

    def test_flickr8k_itself(self):
        if not FLICKR.exists():
            pytest.skip("needs ../shared/data/flickr8k")
        train, valid, test = read("flickr8k", FLICKR)
        assert [len(train["image"]), len(valid["image"])] == [6000, 1000]
        assert {len(captions) for captions in train["caption"] + valid["caption"]} == {5}
        assert train["image"][0] == f"{FLICKR}/images_train_160.zip/2513260012_03d33305cf.jpg"
        assert not set(train["image"]) & set(valid["image"])
        assert test is None


class TestManifest:
    def test_json_lines(self, tmp_path):
        write(
            tmp_path,
            photos__jsonl='{"image": "x/a.jpg", "caption": "a dog"}\n\n'
            '{"image": "b.zip/y/b.jpg", "captions": ["ein Hündchen", "🐶"]}\r\n'
            '{"image": "x/a.jpg", "caption": "one dog"}',
        )
        images(tmp_path, "x/a.jpg")
        zipped(tmp_path / "b.zip", "y/b.jpg")
        assert read_manifest(tmp_path / "photos.jsonl") == {
            "image": [f"{tmp_path}/x/a.jpg", f"{tmp_path}/b.zip/y/b.jpg"],
            "caption": [["a dog", "one dog"], ["ein Hündchen", "🐶"]],
        }

    def test_table(self, tmp_path):
        table = (
            '\ufeffid,image,caption\r\n1,a.jpg,"a dog, ""wet""\r\nand cold"\r\n2,b.jpg,a cat\r\n'
        )
        write(tmp_path, photos__csv=table + "3,a.jpg,one dog\r\n")
        images(tmp_path, "a.jpg", "b.jpg")
        found = read_manifest(tmp_path / "photos.csv")
        assert found["caption"] == [['a dog, "wet"\r\nand cold', "one dog"], ["a cat"]]

    def test_table_with_tabs(self, tmp_path):
        write(tmp_path, photos__tsv="image\tcaption\na.jpg\ta dog, wet\n")
        images(tmp_path, "a.jpg")
        assert read_manifest(tmp_path / "photos.tsv")["caption"] == [["a dog, wet"]]

    def test_splits(self, tmp_path):
        table = "image,caption,split\na.jpg,a dog,train\nb.jpg,a cat,val\nc.jpg,a bird,train\n"
        write(tmp_path, photos__csv=table)
        images(tmp_path, "a.jpg", "b.jpg", "c.jpg")
        train, valid, test = read("manifest", tmp_path / "photos.csv")
        assert train["caption"] == [["a dog"], ["a bird"]]
        assert valid["caption"] == [["a cat"]]
        assert test is None
        assert read_manifest(tmp_path / "photos.csv", split="valid") == valid
        assert len(read_manifest(tmp_path / "photos.csv")["image"]) == 3
        with pytest.raises(ValueError, match=r"of \['train', 'valid'\]. Received: split='test'"):
            read_manifest(tmp_path / "photos.csv", split="test")

    def test_without_splits_all_is_the_split_that_is_named(self, tmp_path):
        write(tmp_path, photos__csv="image,caption\na.jpg,a dog\n")
        images(tmp_path, "a.jpg")
        train, valid, test = read("manifest", tmp_path / "photos.csv")
        assert (len(train["image"]), valid, test) == (1, None, None)
        assert read("manifest", tmp_path / "photos.csv", split="test") == (None, None, train)
        with pytest.raises(ValueError, match="`split` should be one of"):
            read("manifest", tmp_path / "photos.csv", split="dev")

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            (
                "p.csv",
                "image,caption\na.jpg,a dog\nx.jpg,a cat\n",
                "line 3: there is no image .*x.jpg",
            ),
            ("p.csv", "image,caption\nsub,a dog\n", "line 2: there is no image .*sub'"),
            ("p.csv", "image,caption\ngone/x.jpg,a dog\n", "line 2: there is no image"),
            ("p.csv", "image,caption\na.zip/x.jpg,a dog\n", "line 2: .*a.zip"),
            ("p.csv", "image,caption\na.jpg, \n", "line 2: `caption` is empty"),
            ("p.csv", "image,caption\n,a dog\n", "line 2: `image` is empty"),
            ("p.csv", "image,caption\na.jpg\n", "line 2: should have 2 fields"),
            ("p.csv", "image,caption\na.jpg,a dog,wet\n", "line 2: should have 2 fields"),
            ("p.csv", 'image,caption\n\na.jpg,"a dog\n', "line 3: unexpected end of data"),
            ("p.csv", "photo,caption\n", r"line 1: the header should name \['image'\]"),
            ("p.csv", "", r"line 1: the header should name \['caption', 'image'\]"),
            ("p.csv", "image,caption\n", "holds no image with a caption"),
            ("p.csv", "image,caption,split\na.jpg,a dog,all\n", "line 2: `split` should be one of"),
            ("p.csv", "image,caption,split\na.jpg,x,test\nb.jpg,y,\n", "line 3: .*on all lines"),
            ("p.csv", "image,caption,split\na.jpg,x,test\na.jpg,y,train\n", "line 3: .*'test' too"),
            ("p.csv", b"image,caption\na.jpg,a d\xf6g\n", "line 2: 'utf-8' codec can't decode"),
            ("p.jsonl", '{"image": "a.jpg", "caption": "x"}\n{"image"', "line 2: should be a JSON"),
            ("p.jsonl", '["a.jpg", "x"]', "line 1: should be a JSON object"),
            (
                "p.jsonl",
                '{"caption": "x"}',
                "line 1: `image` should be of type str. Received: None",
            ),
            ("p.jsonl", '{"image": "a.jpg"}', "line 1: `caption` should be a string"),
            (
                "p.jsonl",
                '{"image": "a.jpg", "captions": "x"}',
                "line 1: `captions` should be a list",
            ),
            (
                "p.jsonl",
                '{"image": "a.jpg", "captions": []}',
                "line 1: `captions` should be a list",
            ),
            ("p.jsonl", '{"image": "a.jpg", "captions": ["x", ""]}', "line 1: `caption` is empty"),
            ("p.xlsx", "", "`path` should end in one of"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, name, content, message):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        images(tmp_path, "a.jpg", "b.jpg", "sub/c.jpg")
        with pytest.raises(ValueError, match=f"(?s){name}.*{message}|{message}.*{name}"):
            read_manifest(path)

    def test_skipping_counts_and_keeps_the_good(self, tmp_path):
        table = b"image,caption\na.jpg,\nx.jpg,a cat\na.jpg,a d\xf6g\na.jpg\na.jpg,a dog\n"
        write(tmp_path, photos__csv=table)
        images(tmp_path, "a.jpg")
        with pytest.warns(UserWarning, match=r"photos.csv: skipped 4 wrong entries"):
            found = read_manifest(tmp_path / "photos.csv", on_error="skip")
        assert found == {"image": [f"{tmp_path}/a.jpg"], "caption": [["a dog"]]}
