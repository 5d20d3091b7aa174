import keras
import pytest

import mmkeras as mm
from mmkeras.training.identity import check_same, differences, identify

RECORDS = {"vector": [[0.0, 1.0]] * 4, "caption": ["word1 word2"] * 4}
WORDS = [f"word{number}" for number in range(20)]


def made(dropout=0.1, rate=1e-3, words=WORDS, **options):
    """What a run is made of, in a process that has made other layers before."""
    tokenizer = mm.train_tokenizer([" ".join(words)], "word")
    fields = mm.Preprocessor({"vector": mm.Features((2,))}, {"caption": mm.Text(tokenizer, 3)})
    vector = keras.Input((2,), name="vector")
    ids = keras.Input((4,), dtype="int32", name="caption_input")
    dropped = keras.layers.Dropout(dropout)(keras.layers.Dense(4)(vector))
    logits = keras.layers.Dense(9)(keras.layers.RepeatVector(4)(dropped))
    model = mm.Task(
        {"vector": vector, "caption_input": ids}, {"caption": logits}, preprocessor=fields
    )
    model.compile(keras.optimizers.Adam(rate), keras.losses.MeanSquaredError(), ["mae"])
    data = mm.dataset(RECORDS, fields, **{"batch_size": 2, **options})
    return identify(model, data, mm.dataset(RECORDS, fields, 4))


@pytest.fixture(scope="module")
def before():
    return made()


def test_the_same_script_makes_the_same(before):
    assert differences(before, made()) == {}


@pytest.mark.parametrize(
    ("options", "name", "text"),
    [
        ({"dropout": 0.2}, r"model\.layers\.\d\.config\.rate", "0.1 in the checkpoint, 0.2 now"),
        ({"rate": 0.5}, r"compile\.optimizer\.config\.learning_rate", "0.5 now"),
        ({"words": ["other", *WORDS[1:]]}, r"model\.preprocessor\..*", r"<\d+ values \w+>.* now"),
        ({"seed": 3}, r"data\.seed", "0 in the checkpoint, 3 now"),
        ({"batch_size": 3}, r"data\.batch_size", "2 in the checkpoint, 3 now"),
    ],
)
def test_what_differs_is_shown(before, options, name, text):
    found = differences(before, made(**options))
    with pytest.raises(ValueError, match=f"\n  {name}: .*{text}"):
        check_same(found, [], [])
    check_same(found, [], [key.split(".")[0] for key in found])
    check_same(found, [], list(found))


def test_allowed_are_whole_names_only():
    found = {"data.seed": "", "data.seeds": ""}
    with pytest.raises(ValueError, match=r"seeds: \n.*or go on with `allow=\['data'\]`"):
        check_same(found, [], ["data.seed"])


def test_variables_that_do_not_fit_are_never_allowed():
    with pytest.raises(ValueError, match="kernel is gone\nGive `Resume` another directory"):
        check_same({"model.name": ""}, ["kernel is gone"], ["model"])


def test_many_differences_are_cut_short():
    with pytest.raises(ValueError, match="and 38 more"):
        check_same({f"data.{number}": "" for number in range(50)}, [], [])


def test_a_layer_without_a_configuration_is_no_hindrance():
    class Plain(keras.layers.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def call(self, x):
            return x * self.units.value

    class Factor:
        value = 2.0

    vector = keras.Input((2,), name="vector")
    model = keras.Model({"vector": vector}, Plain(Factor())(vector))
    model.compile("sgd", "mse")
    fields = mm.Preprocessor({"vector": mm.Features((2,))}, {})
    data = mm.dataset({"vector": RECORDS["vector"]}, fields, 2)
    found = identify(model, data, None)
    assert found["data.examples"] == 4
    assert found["compile.loss"] == "mse"
