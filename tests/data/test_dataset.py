import io
import resource
import warnings
import zipfile
from pathlib import Path

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

from mmkeras.data import dataset, read
from mmkeras.preprocessing import (
    Features,
    Field,
    Image,
    Preprocessor,
    Text,
    Transcript,
    train_tokenizer,
)
from mmkeras.preprocessing.field import read_bytes

FLICKR = Path(__file__).parents[3] / "shared" / "data" / "flickr8k"
WORDS = train_tokenizer(["a dog runs", "a cat sleeps", "one two three four five six"])
ROWS = ["one", "two", "three", "four", "five", "six"]


class Photo(Field):
    """An image field with a small graph: `Image` takes a second per data set to trace."""

    per_example = True

    def call(self, raw):
        pixels = tf.io.decode_image(raw, channels=3, expand_animations=False)
        pixels = tf.image.resize(pixels, [4, 4], "nearest")
        return tf.ensure_shape(pixels, [4, 4, 3])

    def load(self, value):
        raw = value if isinstance(value, bytes) else read_bytes(value)
        try:
            self(raw)
        except tf.errors.InvalidArgumentError as error:
            raise ValueError(f"{value!r:.400} is no picture: {error.message}") from None
        return raw

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string)}


def photo(value=0, kind="JPEG", size=(8, 8), mode="RGB"):
    file = io.BytesIO()
    PIL.Image.new(mode, size, value if mode == "L" else (value,) * 3).save(file, kind)
    return file.getvalue()


def fields(**inputs):
    return Preprocessor(inputs or {"image": Photo()}, {"caption": Text(WORDS, 6)})


def questions():
    return fields(question=Text(WORDS, 6))


def six(**columns):
    """Six records that tell themselves apart: by grey value, and by caption."""
    records = {"image": [photo(40 * row) for row in range(6)], "caption": list(ROWS)}
    return {**records, **columns}


def strings(batch):
    """The captions of a batch, as words."""
    return WORDS.decode(batch[1]["caption"]).numpy().astype(str).tolist()


def order(batches):
    return [word for batch in batches for word in strings(batch)]


def greys(batches):
    return [round(int(g) / 40) for batch in batches for g in batch["image"][:, 0, 0, 0].numpy()]


class TestBatches:
    def test_with_targets(self):
        batches = dataset(six(), fields(), 4)
        assert batches.cardinality() == 2
        x, y, weight = next(iter(batches))
        assert x["image"].shape == (4, 4, 4, 3)
        assert x["image"].dtype == tf.uint8
        assert y.keys() == weight.keys() == {"caption"}
        expected = Text(WORDS, 6).target("caption", tf.constant(ROWS[:4]))
        np.testing.assert_array_equal(x["caption_input"], expected[0]["caption_input"])
        np.testing.assert_array_equal(y["caption"], expected[1])
        np.testing.assert_array_equal(weight["caption"], expected[2])
        assert order(batches) == ROWS

    def test_without_targets(self):
        batches = dataset({"image": six()["image"]}, fields(), 4)
        assert isinstance(batches.element_spec, dict)
        assert greys(batches) == [0, 1, 2, 3, 4, 5]

    def test_static_shapes(self):
        x, y, _ = dataset(six(), fields(), 2, drop_remainder=True).element_spec
        assert x["image"].shape == (2, 4, 4, 3)
        assert y["caption"].shape[1:] == (7,)

    def test_text_alone(self):
        records = {"question": ROWS, "caption": ROWS[::-1]}
        batches = dataset(records, questions(), 6, shuffle=True)
        ((x, y, _),) = batches
        asked = WORDS.decode(x["question"]).numpy().astype(str).tolist()
        answered = WORDS.decode(y["caption"]).numpy().astype(str).tolist()
        assert sorted(asked) == sorted(ROWS)
        assert [ROWS.index(a) + ROWS.index(b) for a, b in zip(asked, answered, strict=True)] == [
            5
        ] * 6

    def test_an_example_for_each_caption(self):
        captions = [["one"], ["two", "a dog runs"], ["three"], "four", ("five",), ["six", "a cat"]]
        batches = dataset(six(caption=captions), fields(), 3)
        assert order(batches) == [
            "one",
            "two",
            "a dog runs",
            "three",
            "four",
            "five",
            "six",
            "a cat",
        ]
        assert greys(batch[0] for batch in batches) == [0, 1, 1, 2, 3, 4, 5, 5]

    def test_lists_are_taken_in_pairs(self):
        records = {"question": [["one", "two"], "three"], "caption": [["five", "six"], "a cat"]}
        ((x, y, _),) = dataset(records, questions(), 8)
        assert WORDS.decode(x["question"]).numpy().tolist() == [b"one", b"two", b"three"]
        assert WORDS.decode(y["caption"]).numpy().tolist() == [b"five", b"six", b"a cat"]

    def test_drop_remainder(self):
        batches = dataset(six(), fields(), 4, drop_remainder=True)
        assert batches.cardinality() == 1
        assert order(batches) == ROWS[:4]
        assert len(order(dataset(six(), fields(), 3, drop_remainder=True))) == 6

    def test_other_columns_do_not_matter(self):
        assert order(dataset(six(scene=[{}]), fields(), 6)) == ROWS

    def test_columns_may_be_arrays(self):
        records = {"image": np.array(six()["image"], object), "caption": np.array(ROWS)}
        assert order(dataset(records, fields(), 6)) == ROWS

    def test_bytes_are_whole(self):
        bitmap = photo(0, "BMP", size=(5, 5))
        assert bitmap.endswith(b"\0\0\0")
        ((x, _, _),) = dataset({"image": [bitmap], "caption": ["one"]}, fields(), 1)
        assert not np.any(x["image"])

    def test_files_and_members_of_zips(self, tmp_path):
        records = six()
        paths = [f"{tmp_path}/{row}.jpg" for row in range(3)]
        for path, content in zip(paths, records["image"], strict=False):
            Path(path).write_bytes(content)
        with zipfile.ZipFile(tmp_path / "rest.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for row in range(3, 6):
                archive.writestr(f"deep/{row}.jpg", records["image"][row])
        paths += [f"{tmp_path}/rest.zip/deep/{row}.jpg" for row in range(3, 6)]
        paths[0] = Path(paths[0])
        assert greys(dataset({"image": paths}, fields(), 4)) == [0, 1, 2, 3, 4, 5]


class TestOrder:
    def test_epochs_differ_and_come_again(self):
        one = dataset(six(), fields(), 4, shuffle=True, seed=3)
        epochs = [order(one) for _ in range(4)]
        assert all(sorted(epoch) == sorted(ROWS) for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) == 4
        two = dataset(six(), fields(), 4, shuffle=True, seed=3)
        assert [order(two) for _ in range(4)] == epochs
        assert order(dataset(six(), fields(), 4, shuffle=True, seed=4)) != epochs[0]

    def test_order_does_not_depend_on_the_batch_size(self):
        two, five = (dataset(six(), fields(), size, shuffle=True) for size in (2, 5))
        assert order(two) == order(five)

    def test_the_remainder_changes(self):
        batches = dataset(six(), fields(), 4, shuffle=True, drop_remainder=True)
        assert len({frozenset(order(batches)) for _ in range(4)}) > 1

    def test_epoch_can_be_read_and_set(self):
        batches = dataset(six(), fields(), 4, shuffle=True)
        assert batches.epoch == 0
        epochs = [order(batches) for _ in range(3)]
        assert batches.epoch == 3
        batches.epoch = 1
        assert order(batches) == epochs[1]

    def test_an_iterator_that_is_not_read_does_not_count(self):
        batches = dataset(six(), fields(), 4, shuffle=True)
        iter(batches)
        assert batches.epoch == 0

    def test_fit_goes_through_the_epochs(self):
        def fit(batches, **options):
            seen = []

            class Watch(keras.callbacks.Callback):
                def on_train_batch_end(self, batch, logs=None):
                    seen.append(round(logs["loss"], 3))

            image = keras.Input((4, 4, 3), name="image")
            inputs = [image, keras.Input((7,), name="caption_input")]
            model = keras.Model(inputs, {"caption": Mean(name="caption")(image)})
            model.compile(keras.optimizers.SGD(0.0), Same())
            model.fit(batches, verbose=0, callbacks=[Watch()], **options)
            return seen

        make = lambda: dataset(six(), fields(), 2, shuffle=True)  # noqa: E731
        whole = fit(make(), epochs=3)
        assert len(whole) == 9
        assert fit(make(), epochs=3) == whole
        resumed = make()
        resumed.epoch = 1
        assert fit(resumed, epochs=3, initial_epoch=1) == whole[3:]


class Mean(keras.layers.Layer):
    def call(self, image):
        return keras.ops.ones((1, 7)) * keras.ops.mean(image, (1, 2, 3))[:, None]


class Same(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return y_pred


def brighter(tensor, seed):
    return tensor + tf.cast(tf.random.stateless_uniform([], seed, 0, 200, tf.int32), tf.uint8)


class TestAugment:
    def test_follows_seed_epoch_and_example(self):
        def look(batches):
            return np.concatenate([batch["image"] for batch in batches])

        def make(seed):
            return dataset(
                {"image": [photo(0)] * 4}, fields(), 3, seed=seed, augment={"image": brighter}
            )

        one = make(5)
        first, second = look(one), look(one)
        assert len(np.unique(first[:, 0, 0, 0])) == 4
        assert not np.array_equal(first, second)
        again = make(5)
        again.epoch = 1
        np.testing.assert_array_equal(look(again), second)
        assert not np.array_equal(look(make(6)), first)

    def test_belongs_to_the_example_and_not_to_its_place(self):
        records = {"image": [photo(0)] * 6, "caption": ROWS}
        batches = dataset(records, fields(), 6, shuffle=True, augment={"image": brighter})
        plain = dataset(records, fields(), 6, augment={"image": brighter})
        looks = [
            dict(zip(strings(batch), batch[0]["image"][:, 0, 0, 0].numpy().tolist(), strict=True))
            for each in (batches, plain)
            for batch in each
        ]
        assert looks[0] == looks[1]

    @pytest.mark.parametrize("augment", [{"caption": brighter}, {"sound": brighter}, brighter])
    def test_names_are_checked(self, augment):
        with pytest.raises(ValueError, match=r"`augment` should be a dict .*of \['image'\]"):
            dataset(six(), fields(), 2, augment=augment)

    @pytest.mark.parametrize(
        "function", [lambda x, seed: tf.cast(x, tf.float32), lambda x, seed: x[:3]]
    )
    def test_kind_and_shape_may_not_change(self, function):
        with pytest.raises(ValueError, match=r"`augment\['image'\]` should give uint8 of shape"):
            dataset(six(), fields(), 2, augment={"image": function})


class TestCache:
    def test_gives_the_same_as_without(self):
        captions = [[word, "a dog"] for word in ROWS]
        options = {"shuffle": True, "seed": 2, "augment": {"image": brighter}}
        plain = dataset(six(caption=captions), fields(), 5, **options)
        cached = dataset(six(caption=captions), fields(), 5, cache=True, **options)
        assert cached.element_spec == plain.element_spec
        for _ in range(2):
            for one, two in zip(plain, cached, strict=True):
                tf.nest.map_structure(np.testing.assert_array_equal, one, two)

    def test_reads_each_file_once(self, tmp_path):
        path = tmp_path / "a.jpg"
        path.write_bytes(photo(80))
        batches = dataset({"image": [str(path)]}, fields(), 1, cache=True)
        path.unlink()
        assert greys(batches) == greys(batches) == [2]

    def test_a_bad_file_is_named_at_once(self, tmp_path):
        (tmp_path / "b.jpg").write_bytes(photo(80)[:-40])
        records = {"image": [photo(0), f"{tmp_path}/b.jpg"]}
        with pytest.raises(ValueError, match=r"record 1, 'image': .*b\.jpg"):
            dataset(records, fields(), 2, cache=True)

    def test_bad_files_can_be_skipped(self, tmp_path):
        images = [photo(0), b"no image", photo(80), photo(120)]
        with pytest.warns(UserWarning, match="record 1"):
            batches = dataset({"image": images}, fields(), 2, cache=True, on_error="skip")
        assert greys(batches) == [0, 2, 3]

    def test_keeps_what_has_no_fixed_size(self):
        preprocessor = Preprocessor({"image": AnySize()}, {})
        records = {"image": [photo(0), photo(0, size=(9, 9))]}
        batches = dataset(records, preprocessor, 1, cache=True)
        assert [batch["image"].shape[1] for batch in batches] == [8, 9]


class AnySize(Field):
    per_example = True

    def call(self, raw):
        return tf.io.decode_jpeg(raw)

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string)}


BROKEN = {
    "empty.jpg": b"",
    "text.jpg": b"this is not an image",
    "cut.jpg": photo(100, size=(64, 64))[:-200],
    "cut.png": photo(100, "PNG", size=(64, 64))[:-60],
    "head.jpg": photo(100)[:20],
}


class TestBadInput:
    @pytest.mark.parametrize("name", [*BROKEN, "folder.jpg", "gone.jpg"])
    def test_while_reading_the_file_is_named(self, tmp_path, name):
        for each, content in BROKEN.items():
            (tmp_path / each).write_bytes(content)
        (tmp_path / "folder.jpg").mkdir()
        images = [photo(), photo(), f"{tmp_path}/{name}", photo()]
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"record 2, 'image': .*{name}"):
            list(dataset({"image": images}, fields(), 2))

    @pytest.mark.parametrize("bad", [[0], [2], [5], [4, 5], [0, 1, 2, 3, 4, 5]])
    def test_wherever_it_is_the_first_is_named(self, bad):
        images = [b"" if row in bad else photo() for row in range(6)]
        with pytest.raises(tf.errors.InvalidArgumentError, match=f"record {bad[0]}, 'image'"):
            list(dataset({"image": images}, fields(), 4))

    def test_in_another_order_it_is_named_too(self):
        images = [photo()] * 5 + [b""]
        batches = dataset({"image": images}, fields(), 2, shuffle=True)
        for _ in range(3):
            with pytest.raises(tf.errors.InvalidArgumentError, match="record 5, 'image'"):
                list(batches)

    def test_missing_members_of_zips_are_named(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            archive.writestr("a.jpg", photo())
        images = [f"{tmp_path}/a.zip/a.jpg", f"{tmp_path}/a.zip/b.jpg"]
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"a\.zip' has no member 'b\.jpg'"):
            list(dataset({"image": images}, fields(), 2))

    def test_with_the_image_field(self, tmp_path):
        for name, content in BROKEN.items():
            (tmp_path / name).write_bytes(content)
        records = {"image": [photo(40), *(f"{tmp_path}/{name}" for name in BROKEN)]}
        with pytest.warns(UserWarning, match=f"skipped {len(BROKEN)} wrong entries"):
            batches = dataset(records, fields(image=Image(4)), 2, on_error="skip")
        for row, (name, said) in enumerate(zip(BROKEN, batches.skipped, strict=True), 1):
            assert said.startswith(f"record {row}, 'image': ")
            assert name in said
        assert greys(batches) == [1]

    def test_what_the_graph_cannot_decode_and_the_field_can_load(self):
        class Converting(Photo):
            def load(self, value):
                return photo(80) if value == b"TIFF" else super().load(value)

        records = {"image": [photo(), b"TIFF"]}
        converting = fields(image=Converting())
        for options in ({"cache": True}, {"on_error": "skip"}):
            assert greys(dataset(records, converting, 2, **options)) == [0, 2]
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"record 1.*Convert the file"):
            list(dataset(records, converting, 2))

    def test_skipping_leaves_out_and_tells(self, tmp_path):
        for each, content in BROKEN.items():
            (tmp_path / each).write_bytes(content)
        bad = [f"{tmp_path}/{name}" for name in [*BROKEN, "gone.jpg"]]
        images = [bad[0], photo(0), *bad[1:4], photo(40), *bad[4:]]
        captions = ["one", ["one", "two"], "one", "one", "one", ["", "three"], "one", "one"]
        records = {"image": images, "caption": captions}
        with pytest.warns(UserWarning, match=r"(?s)skipped 7 wrong entries.*empty\.jpg"):
            batches = dataset(records, fields(), 2, on_error="skip")
        assert batches.cardinality() == 2
        assert order(batches) == ["one", "two", "three"]
        assert len(batches.skipped) == 7
        assert [name for name in bad if any(name in said for said in batches.skipped)] == bad
        assert "record 5: 'caption' is empty" in batches.skipped

    def test_nothing_to_skip_is_nothing_said(self):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            batches = dataset(six(), fields(), 2, on_error="skip")
        assert batches.skipped == []
        assert order(batches) == ROWS

    @pytest.mark.parametrize("records", [{"image": [], "caption": []}, {"image": []}])
    def test_no_records(self, records):
        with pytest.raises(ValueError, match="`records` should hold at least one good record"):
            dataset(records, fields(), 2)
        with pytest.raises(ValueError, match="`records` should hold at least one good record"):
            dataset(records, fields(), 2, cache=True)

    def test_no_good_records(self):
        with (
            pytest.raises(ValueError, match="at least one good record"),
            pytest.warns(match="record 0"),
        ):
            dataset({"image": [b""]}, fields(), 2, on_error="skip")

    @pytest.mark.parametrize(
        ("records", "message"),
        [
            ({"caption": ["one"]}, r"`records` should hold \['image'\]. Received: .*\['caption'\]"),
            (six(image="a.jpg"), r"`records\['image'\]` should be a list .* Received: str"),
            (
                six(image=iter([])),
                r"`records\['image'\]` should be a list .* Received: list_iterator",
            ),
            (
                six(image=[photo(), 3] * 3),
                r"`records\['image'\]` should hold .* Received: int in record 1",
            ),
            (six(image=[None] * 6), r"`records\['image'\]` .* Received: NoneType in record 0"),
            (six(caption=["one"]), r"equally long .* Received lengths: {'image': 6, 'caption': 1}"),
            (six(caption=[*ROWS[:5], 7]), r"record 5: 'caption': .* Received: 7"),
            (six(caption=[*ROWS[:5], [None]]), r"record 5: 'caption': .* Received: None"),
            (six(caption=[*ROWS[:5], []]), r"record 5: \['caption'\] should not be empty lists"),
            (six(caption=[*ROWS[:5], " "]), r"record 5: 'caption' is empty"),
            ([photo()], r"`records` should be a dict of lists by name. Received: list"),
        ],
    )
    def test_columns(self, records, message):
        with pytest.raises(ValueError, match=message):
            dataset(records, fields(), 2)

    def test_one_of_two_targets(self):
        two = Preprocessor({"question": Text(WORDS)}, {"answer": Text(WORDS), "why": Text(WORDS)})
        with pytest.raises(ValueError, match=r"should hold \['why'\]"):
            dataset({"question": ["one"], "answer": ["two"]}, two, 2)

    def test_lists_that_make_no_pairs(self):
        records = {"question": [["one", "two"]], "caption": [["five"]]}
        with pytest.raises(ValueError, match="record 0: its lists should be equally long"):
            dataset(records, questions(), 2)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"batch_size": 0}, "`batch_size` should be a whole number above 0"),
            ({"batch_size": 2.0}, "`batch_size` should be a whole number above 0"),
            ({"batch_size": 7, "drop_remainder": True}, "`batch_size` should be at most 6"),
            ({"batch_size": 2, "seed": None}, "`seed` should be a whole number"),
            ({"batch_size": 2, "on_error": "warn"}, '`on_error` should be "raise" or "skip"'),
        ],
    )
    def test_arguments(self, options, message):
        with pytest.raises(ValueError, match=message):
            dataset(six(), fields(), **options)


class Score(Field):
    """A number, as a target that is read one example at a time."""

    per_example = True

    def call(self, raw):
        return raw

    def signature(self, name):
        return {name: tf.TensorSpec([None], tf.float32)}

    def target(self, name, raw):
        return {f"{name}_input": raw * 2}, raw, tf.ones_like(raw)


class TestOtherFields:
    def test_a_target_read_one_at_a_time(self):
        preprocessor = Preprocessor({"image": Photo()}, {"score": Score()})
        records = {"image": six()["image"], "score": [np.float32(i) for i in range(6)]}
        for cache in (False, True):
            ((x, y, weight),) = dataset(records, preprocessor, 6, cache=cache)
            assert x["score_input"].numpy().tolist() == [0, 2, 4, 6, 8, 10]
            assert y["score"].numpy().tolist() == [0, 1, 2, 3, 4, 5]
            assert weight["score"].shape == (6,)

    @pytest.mark.parametrize("kind", [list, np.stack])
    def test_arrays(self, kind):
        vectors = np.arange(12, dtype=np.uint8).reshape(6, 2)
        records = {"vector": kind(vectors), "caption": [[row, "a dog"] for row in ROWS]}
        for cache in (False, True):
            (batch,) = dataset(records, fields(vector=Features(2)), 12, cache=cache)
            np.testing.assert_array_equal(batch[0]["vector"], np.repeat(vectors, 2, axis=0))

    def test_arrays_in_files(self, tmp_path):
        paths = [f"{tmp_path}/{row}.npy" for row in range(3)]
        for row, path in enumerate(paths):
            np.save(path, np.full(2, row))
        (x,) = dataset({"vector": paths}, fields(vector=Features(2)), 3)
        assert x["vector"].numpy().tolist() == [[0, 0], [1, 1], [2, 2]]

    def test_arrays_can_be_augmented(self):
        def noise(tensor, seed):
            return tensor + tf.random.stateless_uniform([2], seed)

        records = {"vector": np.zeros((4, 2))}
        (x,) = dataset(records, fields(vector=Features(2)), 4, augment={"vector": noise})
        assert len(np.unique(x["vector"])) == 8

    def test_a_bad_array_is_named(self):
        records = {"vector": [np.zeros(2), np.zeros(3)]}
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"record 1, 'vector': .*\(3,\)"):
            list(dataset(records, fields(vector=Features(2)), 2))

    def test_texts_of_different_kinds(self):
        class Number(Text):
            def load(self, value):
                return value

        records = {"question": ["one", 2], "caption": ["one", "two"]}
        with pytest.raises(ValueError, match=r"`records\['question'\]` should hold values of one"):
            dataset(records, fields(question=Number(WORDS)), 2)


class TestStrategy:
    def test_one_device(self):
        strategy = tf.distribute.MirroredStrategy(["CPU:0"])
        with strategy.scope():
            batches = dataset(six(), fields(), 2, shuffle=True)
            spread = strategy.experimental_distribute_dataset(batches)
            seen = [strings(strategy.experimental_local_results(b)[0]) for b in spread]
        assert [word for batch in seen for word in batch] == order(
            dataset(six(), fields(), 2, shuffle=True)
        )


class TestSize:
    def test_memory_does_not_grow_with_the_data(self, tmp_path):
        noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
        PIL.Image.fromarray(noise).save(tmp_path / "a.jpg")
        peaks = []
        for count in (100, 1000):
            records = {"image": [f"{tmp_path}/a.jpg"] * count}
            for _ in dataset(records, fields(image=AnySize()), 16, shuffle=True):
                pass
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        assert peaks[1] < 1.05 * peaks[0]

    def test_flickr8k_itself(self):
        if not FLICKR.exists():
            pytest.skip("needs ../shared/data/flickr8k")
        _, valid, _ = read("flickr8k", FLICKR)
        words = train_tokenizer(valid["caption"])
        preprocessor = Preprocessor({"image": Image(160)}, {"caption": Text(words, 40)})
        few = {name: column[:40] for name, column in valid.items()}
        batches = dataset(few, preprocessor, 64, shuffle=True)
        assert batches.cardinality() == 4
        said = [s for _, y, _ in batches for s in words.decode(y["caption"]).numpy().tolist()]
        expected = [
            said
            for captions in few["caption"]
            for said in words.decode(words.encode(captions)).numpy().tolist()
        ]
        assert sorted(said) == sorted(expected)


def test_a_caption_of_unknown_words_only_is_named_or_skipped():
    words = train_tokenizer(["a dog"], "word")
    fields = Preprocessor({"features": Features((2,))}, {"caption": Text(words, 4)})
    records = {"features": np.zeros((2, 2)), "caption": [["a dog", "zebra !"], ["dog"]]}
    with pytest.raises(ValueError, match=r"record 0: 'caption' holds no word .*'zebra !'"):
        dataset(records, fields, 1)
    with pytest.warns(UserWarning, match="skipped 1 wrong"):
        data = dataset(records, fields, 1, on_error="skip")
    assert len(list(data)) == 2


class Letters(Field):
    """A masked field: the bytes of a file are its samples, one a second."""

    per_example = True
    masked = True

    def signal(self, raw):
        return tf.cast(tf.io.decode_raw(raw, tf.uint8), tf.float32)

    def features(self, signal):
        return signal, tf.ones_like(signal, tf.bool)

    def seconds(self, value):
        if not value:
            raise ValueError("it is empty")
        return len(value)

    def frames(self, seconds):
        return np.asarray(seconds, int)

    def load(self, value):
        return value

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string)}


class TestRecordings:
    fields = Preprocessor({"letters": Letters()}, {})

    def records(self, count=200):
        lengths = np.random.default_rng(0).integers(1, 100, count)
        return {"letters": [bytes([i % 255 + 1]) * n for i, n in enumerate(lengths)]}

    def rows(self, batches):
        """Each batch as a list of (first sample, length)."""
        return [
            [
                (int(row[0]), int(mask.sum()))
                for row, mask in zip(x["letters"].numpy(), x["letters_mask"].numpy(), strict=True)
            ]
            for x in batches
        ]

    def test_are_padded_with_masked_zeros(self):
        (x,) = dataset({"letters": [b"aaa", b"b"]}, self.fields, 2)
        assert x["letters"].numpy().tolist() == [[97, 97, 97], [98, 0, 0]]
        assert x["letters_mask"].numpy().tolist() == [[True] * 3, [True, False, False]]

    def test_of_alike_length_come_together(self):
        records = self.records()
        batches = dataset(records, self.fields, 16, shuffle=True, batch_seconds=400)
        rows = self.rows(batches)
        assert len(rows) == len(batches)
        expected = sorted((value[0], len(value)) for value in records["letters"])
        assert sorted(row for batch in rows for row in batch) == expected
        padded = [len(batch) * max(n for _, n in batch) for batch in rows]
        assert max(padded) <= 400
        assert max(len(batch) for batch in rows) <= 16
        assert sum(padded) < 1.1 * sum(n for _, n in expected)

    def test_order_follows_seed_and_epoch(self):
        def make(seed):
            return dataset(
                self.records(40), self.fields, 8, shuffle=True, seed=seed, batch_seconds=300
            )

        batches, again = make(1), make(1)
        first, second = self.rows(batches), self.rows(batches)
        assert first == self.rows(again)
        assert second == self.rows(again)
        assert first != second
        assert first != self.rows(make(2))

    def test_keep_their_order_of_length_unshuffled(self):
        rows = self.rows(dataset(self.records(40), self.fields, 8, batch_seconds=300))
        lengths = [n for batch in rows for _, n in batch]
        assert lengths == sorted(lengths)

    @pytest.mark.parametrize("cache", [False, True])
    def test_are_augmented_before_their_features(self, cache):
        twice = {"letters": lambda samples, seed: tf.repeat(samples, 2)}
        (x,) = dataset({"letters": [b"aaa", b"b"]}, self.fields, 2, augment=twice, cache=cache)
        assert x["letters"].numpy().tolist() == [[97] * 6, [98, 98, 0, 0, 0, 0]]

    def test_that_cannot_be_measured_are_named(self):
        records = {"letters": [b"aaa", b""]}
        with pytest.raises(ValueError, match="record 1, 'letters': it is empty"):
            dataset(records, self.fields, 2)
        with pytest.warns(UserWarning, match="record 1"):
            batches = dataset(records, self.fields, 2, on_error="skip")
        assert self.rows(batches) == [[(97, 3)]]
        assert len(batches.skipped) == 1

    @pytest.mark.parametrize("batch_seconds", [None, 100])
    def test_all_bad_are_none(self, batch_seconds):
        with pytest.raises(ValueError, match="`records` should hold at least one good record"):
            dataset(
                {"letters": [b"", b""]},
                self.fields,
                2,
                on_error="skip",
                batch_seconds=batch_seconds,
            )

    def test_longer_than_a_batch_are_refused(self):
        with pytest.raises(ValueError, match="`batch_seconds` should be at least 3"):
            dataset({"letters": [b"aaa"]}, self.fields, 2, batch_seconds=2)

    def test_seconds_are_for_recordings(self):
        with pytest.raises(ValueError, match="`batch_seconds` should be given for recordings"):
            dataset(six(), fields(), 2, batch_seconds=10)


class TestTranscripts:
    """Texts that CTC cannot learn are found before training."""

    def make(self, texts, seconds, **options):
        letters = train_tokenizer(["abc"], "character")
        said = Transcript(letters, 5, source="letters", subsampling=2)
        preprocessor = Preprocessor({"letters": Letters()}, {"said": said})
        records = {"letters": [b"x" * n for n in seconds], "said": texts}
        return dataset(records, preprocessor, 4, **options)

    def test_are_labels_without_markers(self):
        ((x, y, weight),) = self.make(["ab", "ccc"], [9, 9])
        assert set(x) == {"letters", "letters_mask"}
        (a, b), c = y["said"][0, :2].numpy(), y["said"][1, 0].numpy()
        assert y["said"].numpy().tolist() == [[a, b, 0, 0, 0], [c, c, c, 0, 0]]
        assert weight["said"].numpy().tolist() == [1, 1]

    @pytest.mark.parametrize(
        ("text", "seconds", "fault"),
        [
            ("", 9, "is empty"),
            ("abx", 9, "lacks, 'x': 'abx'"),
            ("abcabc", 30, "has 6 tokens, over sequence_length=5"),
            ("abc", 4, "needs 3 frames under CTC, and there are 2"),
            ("aab", 6, "needs 4 frames under CTC, and there are 3"),
        ],
    )
    def test_faults(self, text, seconds, fault):
        with pytest.raises(ValueError, match=f"record 1: 'said' .*{fault}"):
            self.make(["ab", text], [9, seconds])
        with pytest.warns(UserWarning, match="skipped 1"):
            batches = self.make(["ab", text], [9, seconds], on_error="skip")
        assert len(next(iter(batches))[1]["said"]) == 1


GROUPED = {"letters": list("aabbbcdd"), "number": [np.full(1, i, "float32") for i in range(8)]}


class TestShuffledByColumn:
    def order(self, seed=0, epochs=1, batch_size=3):
        fields = Preprocessor(
            {"letters": Text(train_tokenizer(["a b c d"])), "number": Features((1,))}, {}
        )
        data = dataset(GROUPED, fields, batch_size, shuffle="letters", seed=seed)
        batches = [[int(x) for batch in data for x in batch["number"][:, 0]] for _ in range(epochs)]
        return batches if epochs > 1 else batches[0]

    def test_equal_ones_follow_each_other(self):
        order = self.order()
        assert sorted(order) == list(range(8))
        letters = "".join(GROUPED["letters"][i] for i in order)
        assert all(run in letters for run in ("aa", "bbb", "c", "dd"))

    def test_every_epoch_has_another_order_and_the_seed_decides(self):
        orders = self.order(epochs=4)
        assert len({tuple(order) for order in orders}) > 1
        assert orders == self.order(epochs=4)

    def test_a_column_that_is_not_there(self):
        fields = Preprocessor({"number": Features((1,))}, {})
        with pytest.raises(ValueError, match=r"`shuffle` should be .*'number'.*shuffle='colour'"):
            dataset(GROUPED, fields, 2, shuffle="colour")
