import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops

from mmkeras.fusion import (
    FUSIONS,
    BilinearFusion,
    CrossAttentionFusion,
    FiLMFusion,
    GatedFusion,
    LateHead,
    MeanFusion,
    ModalityDropout,
    NullEmbedding,
    RecurrentFusion,
    WeightedFusion,
    concatenate,
    fuse,
)

WIDTH = 8
# Not in alphabetical order, so that a sorted dictionary somewhere would be found out.
LENGTHS = {"sound": (4, 3), "image": (5, 6), "question": (3, 5)}
NEED_TWO = {"bilinear", "film", "cross_attention", "co_attention"}
ATTENTION = {"cross_attention", "co_attention", "bottleneck", "perceiver", "early", "hybrid"}
ONE_VECTOR = {
    "concatenate_pooled",
    "mean",
    "sum",
    "weighted",
    "attention",
    "gated",
    "bilinear",
}


def encoded(names=tuple(LENGTHS), batch=3, seed=0, hide=0.4):
    """Random sequences and masks; the first example misses the first modality."""
    random = np.random.default_rng(seed)
    pairs = {}
    for name in names:
        shape = (batch, *LENGTHS[name])
        mask = random.random(shape[:2]) > hide
        mask[:, 0] = True
        pairs[name] = random.normal(size=shape).astype("float32"), mask
    if len(names) > 1:
        pairs[names[0]][1][0] = False
    return pairs


def arrays(result):
    return [np.asarray(x) for x in result]


@pytest.fixture(scope="module")
def fusions():
    """Every fusion, built once for three modalities, away from its starting weights."""
    random = np.random.default_rng(1)
    made = {}
    for name, kind in FUSIONS.items():
        made[name] = kind(WIDTH, **({"blocks": 1} if name in ATTENTION else {}))
        made[name](encoded())
        for weight in made[name].weights:
            weight.assign(weight + 0.1 * random.normal(size=weight.shape))
    return made


@pytest.mark.parametrize("name", FUSIONS)
def test_three_modalities_become_one(fusions, name):
    sequence, mask = arrays(fusions[name](encoded()))
    assert sequence.shape == (*mask.shape, WIDTH)
    assert mask.dtype == bool
    assert mask.any(axis=1).all()
    assert np.isfinite(sequence).all()
    if name in ONE_VECTOR:
        assert mask.shape == (3, 1)


@pytest.mark.parametrize("name", FUSIONS)
def test_one_modality_is_enough_or_refused(name):
    pairs = encoded(["image"])
    if name in NEED_TWO:
        with pytest.raises(ValueError, match=r"at least 2 inputs.*Received: \['image'\]"):
            FUSIONS[name](WIDTH)(pairs)
    else:
        sequence, mask = arrays(FUSIONS[name](WIDTH)(pairs))
        assert sequence.shape == (*mask.shape, WIDTH)
        assert np.isfinite(sequence).all()


@pytest.mark.parametrize("name", FUSIONS)
def test_what_is_hidden_never_changes_the_result(fusions, name):
    @settings(max_examples=4, deadline=None)
    @given(st.integers(0, 10**6), st.sampled_from([7.0, np.nan]))
    def check(seed, other):
        pairs = encoded(seed=seed, hide=0.6, batch=32)
        for place, (_, mask) in enumerate(pairs.values()):
            mask[place::5] = False
        changed = {
            key: (np.where(mask[..., None], x, other).astype("float32"), mask)
            for key, (x, mask) in pairs.items()
        }
        for before, after in zip(
            arrays(fusions[name](pairs)), arrays(fusions[name](changed)), strict=True
        ):
            np.testing.assert_array_equal(before, after)

    check()


@pytest.mark.parametrize("name", FUSIONS)
def test_more_padding_changes_nothing(fusions, name):
    pairs = encoded()
    longer = {
        key: (np.pad(x, [(0, 0), (0, 3), (0, 0)]), np.pad(mask, [(0, 0), (0, 3)]))
        for key, (x, mask) in pairs.items()
    }
    sequence, mask = arrays(fusions[name](pairs))
    longer_sequence, longer_mask = arrays(fusions[name](longer))
    np.testing.assert_allclose(sequence[mask], longer_sequence[longer_mask], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "names"),
    [
        (name, names)
        for name in FUSIONS
        for names in [("image",), ("image", "question"), tuple(LENGTHS)]
        if len(names) > 1 or name not in NEED_TWO
    ],
)
def test_gradient_reaches_every_weight(name, names):
    import tensorflow as tf

    # Every modality is missing somewhere.
    pairs = encoded(names)
    for place, (_, mask) in enumerate(pairs.values()):
        mask[place] = False
    fusion = FUSIONS[name](WIDTH)
    with tf.GradientTape() as tape:
        sequence, mask = fusion(pairs)
        visible = ops.cast(mask, "float32")[..., None]
        random = np.random.default_rng(2).normal(size=sequence.shape).astype("float32")
        loss = ops.sum(ops.tanh(sequence) * visible * random)
    gradients = tape.gradient(loss, [weight.value for weight in fusion.trainable_weights])
    dead = [
        weight.path
        for weight, gradient in zip(fusion.trainable_weights, gradients, strict=True)
        if gradient is None or not np.any(np.asarray(tf.convert_to_tensor(gradient)))
    ]
    assert not dead


@pytest.mark.parametrize("name", FUSIONS)
def test_saved_and_loaded_in_safe_mode_it_gives_the_same(fusions, name, tmp_path):
    pairs = encoded()
    inputs = {key: keras.Input((None, size), name=key) for key, (_, size) in LENGTHS.items()}
    masks = {key: keras.Input((None,), dtype="bool", name=f"{key}_mask") for key in LENGTHS}
    taken = {key: (x, None if key == "sound" else masks[key]) for key, x in inputs.items()}
    layer = type(fusions[name]).from_config(fusions[name].get_config())
    model = keras.Model([*inputs.values(), *masks.values()], layer(taken))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    values = [x for x, _ in pairs.values()] + [mask for _, mask in pairs.values()]
    for before, after in zip(arrays(model(values)), arrays(again(values)), strict=True):
        np.testing.assert_array_equal(before, after)
    assert again.count_params() == model.count_params()


@pytest.mark.parametrize("name", FUSIONS)
def test_every_fusion_by_name(name):
    inputs = {
        key: (keras.Input((None, LENGTHS[key][1])), keras.Input((None,), dtype="bool"))
        for key in ("image", "question")
    }
    sequence, mask = fuse(inputs, WIDTH, fusion=name, modality_dropout=0.1)
    assert sequence.shape[-1] == WIDTH
    assert len(mask.shape) == 2


def test_a_layer_or_a_function_is_a_fusion_too():
    pairs = encoded(("image", "question"))
    assert fuse(pairs, 16, fusion=MeanFusion(4))[0].shape == (3, 1, 4)
    assert fuse(pairs, 16, fusion=concatenate)[0].shape == (3, 8, 16)


def test_unknown_names_are_refused():
    pairs = encoded(("image", "question"))
    with pytest.raises(ValueError, match=r"`fusion` should be one of .*Received: fusion='cat'"):
        fuse(pairs, WIDTH, fusion="cat")
    with pytest.raises(ValueError, match=r"`query` should be one of .*query='text'"):
        CrossAttentionFusion(WIDTH, query="text")(pairs)
    with pytest.raises(ValueError, match=r"`condition` should be one of .*condition='text'"):
        FiLMFusion(WIDTH, condition="text")(pairs)


def test_what_has_no_length_or_an_odd_width_is_refused():
    with pytest.raises(ValueError, match=r"'image' should be \(batch, length, width\)"):
        MeanFusion(WIDTH)({"image": (np.zeros((2, 4), "float32"), np.ones((2, 4), bool))})
    with pytest.raises(ValueError, match="`width` should be even"):
        RecurrentFusion(7)(encoded())


def test_concatenate_has_no_mask_where_nobody_has_one():
    image = keras.Input((5, 6))
    assert concatenate({"image": (image, None)}, WIDTH)[1] is None
    sequence, mask = concatenate({"a": (image, None), "b": (image, None)}, WIDTH)
    assert sequence.shape[1] == 10
    assert mask is None


def test_concatenate_does_not_see_a_missing_modality():
    inputs = {
        key: (keras.Input((None, LENGTHS[key][1])), keras.Input((None,), dtype="bool"))
        for key in ("image", "question")
    }
    model = keras.Model(inputs, concatenate(inputs, WIDTH))
    pairs = encoded(("image", "question"))
    x, mask = pairs["image"]
    changed = {**pairs, "image": (np.where(mask[..., None], x, np.nan), mask)}
    sequence, mask = arrays(model(pairs))
    np.testing.assert_array_equal(sequence, arrays(model(changed))[0])
    assert mask[0].sum() == 1 + pairs["question"][1][0].sum()


def test_recurrent_reads_what_is_visible_and_nothing_else(fusions):
    """One joined sequence without padding gives the same as three with some."""
    pairs = encoded()
    sequence, mask = arrays(fusions["recurrent"](pairs))
    row = {key: (x[1:2][:, m[1]], m[1:2][:, m[1]]) for key, (x, m) in pairs.items()}
    alone, _ = arrays(fusions["recurrent"](row))
    np.testing.assert_allclose(sequence[1][mask[1]], alone[0], atol=1e-5)


class TestFormulas:
    """Fusions of vectors against their papers' formulas in NumPy."""

    @pytest.fixture
    def pairs(self):
        return encoded(("image", "question"), hide=0.0)

    def vectors(self, fusion, pairs):
        projected = [
            p(x, padding_mask=m)
            for p, (x, m) in zip(fusion.projections, pairs.values(), strict=True)
        ]
        return [
            (np.asarray(x) * np.asarray(m)[..., None]).sum(1) / np.asarray(m).sum(1)[:, None]
            for x, m in projected
        ]

    def dense(self, layer, x):
        return x @ np.asarray(layer.kernel) + np.asarray(layer.bias)

    def test_gated(self, pairs):
        fusion = GatedFusion(WIDTH)
        got = np.asarray(fusion(pairs)[0])[:, 0]
        x, y = self.vectors(fusion, pairs)
        hidden = [np.tanh(self.dense(*p)) for p in zip(fusion.hidden, (x, y), strict=True)]
        logits = self.dense(fusion.gate, np.concatenate([x, y], axis=-1))
        # The paper's single gate for two modalities is the sigmoid of the difference.
        z = 1 / (1 + np.exp(logits[:, WIDTH:] - logits[:, :WIDTH]))
        np.testing.assert_allclose(got, z * hidden[0] + (1 - z) * hidden[1], atol=1e-5)

    def test_mlb(self, pairs):
        fusion = BilinearFusion(WIDTH, rank=1)
        got = np.asarray(fusion(pairs)[0])[:, 0]
        x, y = self.vectors(fusion, pairs)
        u, v = fusion.factors
        product = np.tanh(self.dense(u, x)) * np.tanh(self.dense(v, y))
        np.testing.assert_allclose(got, self.dense(fusion.out, product), atol=1e-5)

    def test_mutan_is_a_sum_of_products(self, pairs):
        fusion = BilinearFusion(WIDTH, rank=3)
        got = np.asarray(fusion(pairs)[0])[:, 0]
        x, y = self.vectors(fusion, pairs)
        u, v = (self.dense(*p) for p in zip(fusion.factors, (x, y), strict=True))
        parts = np.split(np.tanh(u), 3, axis=-1), np.split(np.tanh(v), 3, axis=-1)
        product = sum(a * b for a, b in zip(*parts, strict=True))
        np.testing.assert_allclose(got, self.dense(fusion.out, product), atol=1e-5)

    def test_weighted(self, pairs):
        fusion = WeightedFusion(WIDTH)
        fusion.build({k: (x.shape, m.shape) for k, (x, m) in pairs.items()})
        fusion.logits.assign([0.0, np.log(3.0)])
        got = np.asarray(fusion(pairs)[0])[:, 0]
        x, y = self.vectors(fusion, pairs)
        np.testing.assert_allclose(got, 0.25 * x + 0.75 * y, atol=1e-5)


class TestNullEmbedding:
    def test_it_stands_in_the_first_place_only_where_nothing_is_visible(self):
        layer = NullEmbedding()
        x, mask = np.full((2, 3, 2), np.nan, "float32"), np.array([[0, 0, 0], [0, 1, 0]], bool)
        x[1, 1] = 5
        got, visible = arrays(layer(x, mask))
        null = np.asarray(layer.null)
        np.testing.assert_array_equal(got[0], [null, [0, 0], [0, 0]])
        np.testing.assert_array_equal(got[1], [[0, 0], [5, 5], [0, 0]])
        np.testing.assert_array_equal(visible, [[1, 0, 0], [0, 1, 0]])


class TestModalityDropout:
    def test_it_does_nothing_outside_training(self):
        pairs = encoded()
        for key, (x, mask) in ModalityDropout(0.9)(pairs, training=False).items():
            np.testing.assert_array_equal(x, pairs[key][0])
            np.testing.assert_array_equal(mask, pairs[key][1])

    def test_it_hides_at_its_rate_whole_modalities_and_never_all(self):
        rate, batch = 0.3, 4000
        pairs = {k: (np.ones((batch, *s), "float32"), None) for k, s in LENGTHS.items()}
        masks = [np.asarray(m) for _, m in ModalityDropout(rate, 0)(pairs, training=True).values()]
        for mask in masks:
            assert (mask.all(1) | ~mask.any(1)).all()
        here = np.stack([mask.any(1) for mask in masks], 1)
        assert here.any(1).all()
        # Where all three would go, with probability rate ** 3, one of them stays.
        expected = 1 - rate + rate**3 / 3
        assert here.mean(0) == pytest.approx([expected] * 3, abs=0.03)

    def test_the_only_one_that_an_example_has_always_stays(self):
        pairs = {k: (np.ones((200, *s), "float32"), None) for k, s in LENGTHS.items()}
        pairs["image"] = pairs["image"][0], np.zeros((200, 5), bool)
        pairs["sound"] = pairs["sound"][0], np.zeros((200, 4), bool)
        dropped = ModalityDropout(0.99, 0)(pairs, training=True)
        assert np.asarray(dropped["question"][1]).all()
        assert not np.asarray(dropped["image"][1]).any()

    def test_a_seed_repeats_it(self):
        pairs = encoded(batch=50)
        first, second = (ModalityDropout(0.5, 3)(pairs, training=True) for _ in range(2))
        for key in pairs:
            np.testing.assert_array_equal(first[key][1], second[key][1])

    @pytest.mark.parametrize("rate", [-0.1, 1.0])
    def test_refuses_a_rate_out_of_range(self, rate):
        with pytest.raises(ValueError, match="`rate`"):
            ModalityDropout(rate)


@keras.saving.register_keras_serializable("test_fusion")
class Classify(keras.layers.Layer):
    """A linear head on the mean of what is visible."""

    def __init__(self, classes, **kwargs):
        super().__init__(**kwargs)
        self.classes = classes

    def build(self, context_shape, context_mask_shape=None):
        self.linear = keras.layers.Dense(self.classes)
        self.linear.build((None, context_shape[-1]))

    def call(self, context, context_mask=None):
        if context_mask is None:
            return self.linear(ops.mean(context, axis=1))
        seen = ops.cast(context_mask, context.dtype)[..., None]
        return self.linear(ops.sum(context * seen, axis=1) / ops.sum(seen, axis=1))

    def loss(self):
        return "the loss"

    def metrics_to_compile(self):
        return ["accuracy"]

    def get_config(self):
        return {**super().get_config(), "classes": self.classes}


class TestLateHead:
    def own_logits(self, late, pairs):
        """Each modality's own, by calling it with nothing but that."""
        logits = []
        for name in pairs:
            only = {
                key: (x, mask if key == name else np.zeros_like(mask))
                for key, (x, mask) in pairs.items()
            }
            # In training a vote is not counted yet.
            logits.append(np.asarray(late(only, training=True)))
        return logits

    def test_average_is_the_mean_over_what_is_there(self):
        late = LateHead(Classify(4, name="answer"))
        pairs = encoded()
        got = np.asarray(late(pairs))
        sound, image, question = self.own_logits(late, pairs)
        np.testing.assert_allclose(got[0], (image + question)[0] / 2, atol=1e-5)
        np.testing.assert_allclose(got[1:], (sound + image + question)[1:] / 3, atol=1e-5)

    def test_weighted(self):
        late = LateHead(Classify(4, name="answer"), "weighted")
        pairs = encoded()
        late(pairs)
        late.importance.assign(np.log([1.0, 2.0, 3.0]))
        got = np.asarray(late(pairs))
        sound, image, question = self.own_logits(late, pairs)
        np.testing.assert_allclose(got[0], (2 * image + 3 * question)[0] / 5, atol=1e-5)
        np.testing.assert_allclose(got[1:], (sound + 2 * image + 3 * question)[1:] / 6, atol=1e-5)

    def test_the_majority_wins_the_vote_and_likelihood_a_tie(self):
        vote = LateHead(Classify(4, name="answer"), "vote")
        pairs = encoded(batch=40)
        got = np.asarray(vote(pairs))
        np.testing.assert_allclose(np.exp(got).sum(-1), 1, atol=1e-5)
        own = np.stack(self.own_logits(vote, pairs))
        likely = np.exp(own) / np.exp(own).sum(-1, keepdims=True)
        for row in range(40):
            here = [mask[row].any() for _, mask in pairs.values()]
            counts = np.bincount(own[here, row].argmax(-1), minlength=4)
            best = counts + likely[here, row].mean(0)
            assert got[row].argmax() == best.argmax()

    def test_a_vote_trains_as_the_average(self):
        vote = LateHead(Classify(4, name="answer"), "vote")
        pairs = encoded(hide=0.0)
        got = np.asarray(vote(pairs, training=True))
        np.testing.assert_allclose(got[1:], np.mean(self.own_logits(vote, pairs), 0)[1:], atol=1e-5)

    @pytest.mark.parametrize("decision", ["average", "weighted", "vote"])
    def test_nothing_there_is_still_a_number(self, decision):
        late = LateHead(Classify(4, name="answer"), decision)
        pairs = {k: (x * np.nan, m & False) for k, (x, m) in encoded().items()}
        assert np.isfinite(np.asarray(late(pairs))).all()

    def test_it_stands_where_its_head_would(self, tmp_path):
        late = LateHead(Classify(4, name="answer"), "weighted")
        assert (late.name, late.loss(), late.metrics_to_compile()) == (
            "answer",
            "the loss",
            ["accuracy"],
        )
        inputs = {k: keras.Input((None, size), name=k) for k, (_, size) in LENGTHS.items()}
        model = keras.Model(inputs, late({k: (x, None) for k, x in inputs.items()}))
        model.save(tmp_path / "m.keras")
        again = keras.models.load_model(tmp_path / "m.keras")
        values = {k: x for k, (x, _) in encoded().items()}
        np.testing.assert_array_equal(model(values), again(values))

    def test_refuses_an_unknown_decision(self):
        with pytest.raises(ValueError, match="`decision` should be one of"):
            LateHead(Classify(4), "loudest")
