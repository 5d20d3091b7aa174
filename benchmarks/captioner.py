"""The captioner that is measured: a Vision Transformer and a Transformer decoder."""

import dataclasses

import mmkeras as mm
from mmkeras.encoders.image import PATCH_SIZES

PATCH = 16
DROPOUT = 0.1
LABEL_SMOOTHING = 0.1
# A product of matrices of this side shows the machine's peak.
PEAK_SIDE = 2048


@dataclasses.dataclass(frozen=True)
class Settings:
    """Of the model; `tokens` counts the `[END]` of a caption."""

    encoder: str = "small"
    image_size: int = 224
    width: int = 256
    depth: int = 6
    heads: int = 8
    vocabulary: int = 8000
    tokens: int = 32


FULL = Settings()
QUICK = Settings("tiny", 32, width=32, depth=1, heads=2, vocabulary=50, tokens=5)


def captioner(settings):
    """The compiled Task, with random weights."""
    special = ["[PAD]", "[START]", "[END]", "[UNK]"]
    known = [f"word{number}" for number in range(settings.vocabulary - len(special))]
    words = mm.WordTokenizer(special + known)
    decoder = mm.TransformerDecoder(
        settings.vocabulary,
        settings.tokens,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        dropout=DROPOUT,
        label_smoothing=LABEL_SMOOTHING,
        name="caption",
    )
    encoder = mm.patch(settings.encoder, PATCH, DROPOUT)
    return mm.assemble(
        {"image": (mm.Image(settings.image_size), encoder)},
        {"caption": (mm.Text(words, settings.tokens - 1), decoder)},
        settings.width,
        DROPOUT,
    )


def peer_settings(settings, batch, peak_side):
    """The same as `huggingface.py` takes it."""
    return {
        **dataclasses.asdict(settings),
        "encoder": PATCH_SIZES[settings.encoder],
        "patch": PATCH,
        "dropout": DROPOUT,
        "label_smoothing": LABEL_SMOOTHING,
        "batch": batch,
        "peak_side": peak_side,
    }


def training_flops(settings, batch):
    """Floating-point operations of a training step's matrix products, a multiply-add being two.

    Going back costs twice what going forward does: one product for the gradient of the input and
    one for that of the weights.
    """
    width, depth, _ = PATCH_SIZES[settings.encoder]
    patches = (settings.image_size // PATCH) ** 2
    wide, tokens = settings.width, settings.tokens
    # Per block and position: 4 projections and a feed-forward 4 wide, scores and weighted sums.
    encoder = patches * depth * (24 * width**2 + 4 * patches * width)
    encoder += patches * (2 * 3 * PATCH**2 * width + 2 * width * wide)
    # As above, and 2 projections of the token and attention to the patches.
    decoder = tokens * settings.depth * (28 * wide**2 + 4 * (tokens + patches) * wide)
    context = patches * settings.depth * 4 * wide**2
    logits = tokens * 2 * wide * settings.vocabulary
    return 3 * batch * (encoder + decoder + context + logits)
