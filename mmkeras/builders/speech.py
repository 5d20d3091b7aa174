"""Words from recordings."""

from mmkeras.assembly import assemble
from mmkeras.builders import parts
from mmkeras.decoders import CTC, JointDecoder
from mmkeras.encoders import check_size
from mmkeras.preprocessing import Audio, Transcript

# size: (width of the context, depth and heads of an attention decoder)
SIZES = {"nano": (80, 1, 4), "tiny": (128, 2, 4), "small": (192, 3, 4), "base": (384, 6, 6)}


def speech_to_text(
    tokenizer,
    audio=16000,
    encoder="conformer",
    decoder="ctc",
    size="small",
    subsampling=4,
    sequence_length=200,
    dropout=0.1,
):
    """Recording -> what is said in it.

    Args:
        tokenizer: A trained tokenizer, see `train_tokenizer`: `"character"` or `"subword"`.
        audio: Samples a second that the model hears, or an `Audio` field of your own.
        encoder: `"conformer"`, `"conv_lstm"`, `"conv_transformer"`, or a function from frames and
            their mask to `(sequence, mask)`, such as `mm.conformer("small", chunk=8)`, with which
            the model can listen to a stream.
        decoder: `"ctc"`, `"attention"`, `"joint"` (both: CTC finds the answers, attention ranks
            them) or a head or Decoder layer named `transcript`.
        size: `"nano"`, `"tiny"`, `"small"` or `"base"`: of encoder and decoder, where they are
            given by name.
        subsampling: Frames of the recording for each at which something can be written.
        sequence_length: Longest transcript in tokens.
        dropout: Rate everywhere.

    Returns:
        A compiled `Task`: input `audio`, target `transcript`.

    Raises:
        ValueError: naming the argument that is not one of these.

    Example:

    ```python
    import mmkeras as mm

    train, valid, test = mm.read("fsdd", "free-spoken-digit-dataset")
    # Letters would need more frames than the shortest takes have.
    words = mm.train_tokenizer(train["transcript"], kind="word")
    model = mm.speech_to_text(words, audio=8000, size="nano")
    model.fit(mm.dataset(train, model.preprocessor, 16, shuffle=True, batch_seconds=60), epochs=30)
    model.infer({"audio": ["seven.wav"]})
    ```
    """
    width, depth, heads = check_size(size, SIZES)
    field = audio if isinstance(audio, Audio) else Audio(audio)
    encoder = parts.audio_encoder(encoder, size, subsampling=subsampling, dropout=dropout)
    reads = decoder in ("attention", "joint") or hasattr(decoder, "start_id")
    text = Transcript(tokenizer, sequence_length, "audio", subsampling, markers=reads)
    transformer = {"depth": depth, "heads": heads}
    if decoder == "attention":
        decoder = parts.decoder(text, transformer, width=width, dropout=dropout, name="transcript")
    elif decoder == "joint":
        attention = parts.decoder(text, transformer, width=width, dropout=dropout, name="attention")
        ctc = CTC(tokenizer.vocabulary_size, dropout, name="ctc")
        decoder = JointDecoder(ctc, attention, name="transcript")
    elif decoder == "ctc":
        decoder = CTC(tokenizer.vocabulary_size, dropout, name="transcript")
    parts.check_head(decoder, ["attention", "ctc", "joint"])
    return assemble(
        {"audio": (field, encoder)},
        {"transcript": (text, decoder)},
        width,
        dropout,
        name="speech_to_text",
    )
