"""The audio field: recordings -> log-mel frames or samples, of any length, with their mask."""

import functools

import keras
import numpy as np
import tensorflow as tf

from mmkeras.preprocessing import pipes, sound_files, wav
from mmkeras.preprocessing.field import Field
from mmkeras.preprocessing.log_mel import (
    first_tail,
    log_mel,
    log_mel_chunk,
    mel_filters,
    window_and_hop,
)
from mmkeras.preprocessing.resampling import resample

_NO_RECORDING = (
    "`audio` should be a recording, as WAV, FLAC, OGG, MP3 or another that soundfile reads. "
    "Received: audio={}: {}"
)
_EPSILON = 1e-5
# Normalizations of log-mel by its loudest.
_BY_LOUDEST = ("whisper", "peak")


@keras.saving.register_keras_serializable("mmkeras")
class Audio(Field):
    """A recording as log-mel frames or as samples, and a mask that tells them from padding.

    Takes WAV of PCM with 8, 16, 24 or 32 bits or float with 32 or 64 bits, of any number of
    channels (their mean is taken) and from 1 kHz to 384 kHz (see `resample`). Of a WAV that was cut
    off, or written to a pipe with no true size, it takes what is there, if that is one sample at
    least. `load` turns other files (FLAC, OGG, MP3, ...) into WAV.

    A call gives `(features, mask)`: `(batch, frames, bands)` float32, 0 in the padding, and
    `(batch, frames)` bool; for one recording without `batch`. There are `samples // hop` frames,
    at least one, and what else is in the batch changes none of them.

    Args:
        sample_rate: samples a second that everything is brought to.
        features: `"log_mel"`, windows of 25 ms every 10 ms as Whisper computes them (see
            `log_mel`), or `"waveform"`, `(batch, samples, 1)`.
        bands: mel bands of a frame.
        normalization: of log-mel, which is always scaled as `(log10(power) + 4) / 4`. `"utterance"`
            makes the mean of each band over the recording's own frames 0 and its variance 1;
            `"whisper"` raises all that is more than 80 dB below the recording's loudest to that;
            `"peak"` makes the loudest 2 and all that is 40 dB below it or more -2, so that neither
            loudness nor a quiet noise counts;
            `(mean, variance)` of numbers or of one list of `bands` numbers each, over a whole set
            of recordings, makes that 0 and 1; None leaves the scale. Of samples, between -1
            and 1: all but these two. Streams know no whole recording: for them None or
            `(mean, variance)`.
        centered: whether frame `t` is centred on sample `t * hop`, as Whisper has it; else its
            window ends with sample `(t + 1) * hop`, so that a stream has no delay.
        max_seconds: longest recording that is decoded.
        optional: as in `Field`; what is missing has frames that are all hidden.

    Raises:
        ValueError: when an argument is not one of these.
        tf.errors.InvalidArgumentError: when called on what is not such a WAV; names the row.

    Example:

    ```python
    audio = Audio(bands=40)
    frames, mask = audio([audio.load("one.wav"), audio.load("two.flac")])
    ```
    """

    per_example = True
    masked = True

    def __init__(
        self,
        sample_rate=16000,
        features="log_mel",
        bands=80,
        normalization="utterance",
        centered=True,
        max_seconds=3600,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sample_rate = wav.check_rate("sample_rate", sample_rate)
        if features not in ("log_mel", "waveform"):
            raise ValueError(
                '`features` should be one of ["log_mel", "waveform"]. '
                f"Received: features={features!r}"
            )
        if not isinstance(bands, int) or bands < 1:
            raise ValueError(f"`bands` should be a whole number above 0. Received: bands={bands!r}")
        if not max_seconds > 0:
            raise ValueError(
                f"`max_seconds` should be above 0. Received: max_seconds={max_seconds!r}"
            )
        self.kind = features
        self.bands = bands
        self.width = bands if features == "log_mel" else 1
        self.normalization = _check_normalization(normalization, features, self.width)
        self.centered = bool(centered)
        self.max_seconds = max_seconds
        if features == "log_mel":
            mel_filters(sample_rate, bands)

    def call(self, raw):
        """WAV bytes, `()` or `(batch,)` -> `(features, mask)`."""
        raw = tf.convert_to_tensor(raw, tf.string)
        if raw.shape.rank == 0:
            return self.features(self.signal(raw))
        if raw.shape.rank != 1:
            raise ValueError(f"`raw` should be of shape () or (batch,). Received: {raw.shape}")
        return self._batch(raw)

    @functools.partial(tf.function, autograph=False)
    def _batch(self, raw):
        # Row by row, so that the same recording gives the same bits alone and among others.
        def step(row, parts, lengths):
            where = tf.strings.join(["row ", tf.strings.as_string(row), " is "])
            features, mask = self.features(self._samples(raw[row], where))
            return row + 1, parts.write(row, features), lengths.write(row, tf.size(mask))

        count = tf.size(raw)
        shape = [None, self.width]
        parts = tf.TensorArray(tf.float32, count, infer_shape=False, element_shape=shape)
        lengths = tf.TensorArray(tf.int32, count, element_shape=[])
        state = (0, parts, lengths)
        _, parts, lengths = tf.while_loop(lambda row, *_: row < count, step, state)
        lengths = lengths.stack()
        ragged = tf.RaggedTensor.from_row_lengths(parts.concat(), lengths, validate=False)
        features = ragged.to_tensor(shape=[None, *shape])
        mask = tf.sequence_mask(lengths, tf.shape(features)[1])
        return features, mask & self.present(raw)[:, tf.newaxis] if self.optional else mask

    def signal(self, raw):
        """WAV bytes, `()` -> samples at the field's rate, `(samples,)`."""
        return self._samples(tf.convert_to_tensor(raw, tf.string), tf.constant("it is "))

    def _samples(self, contents, where):
        plain, decode = wav.plain_samples(contents, self.sample_rate, self.max_seconds)

        def other():
            return _samples(contents, where, self.sample_rate, self.max_seconds)

        def absent():
            return tf.zeros([0])

        rest = other
        if self.optional:
            rest = functools.partial(tf.cond, self.present(contents), other, absent)
        return tf.ensure_shape(tf.cond(plain, decode, rest), [None])

    def features(self, signal):
        """Samples at the field's rate, `(samples,)` -> `(frames, bands)` and `(frames,)`."""
        there = tf.size(signal) > 0
        if self.optional:
            # One sample for none, of which the frame is hidden.
            signal = tf.pad(signal, [[0, tf.cast(~there, tf.int32)]])
        if self.kind == "log_mel":
            signal = tf.ensure_shape(signal, [None])
            features = _scaled(log_mel(signal, self.sample_rate, self.bands, self.centered))
        else:
            features = signal[:, tf.newaxis]
        features = self._normalized(features)
        return features, tf.fill(tf.shape(features)[:1], there)

    def _normalized(self, features):
        if self.normalization is None:
            return features
        if self.normalization == "whisper":
            # 80 dB, at a quarter of log10 a step.
            return tf.maximum(features, tf.reduce_max(features) - 2)
        if self.normalization == "peak":
            return 2 + 4 * tf.maximum(features - tf.reduce_max(features), -1)
        if self.normalization == "utterance":
            mean, variance = tf.nn.moments(features, axes=[0])
        else:
            mean, variance = (np.float32(each) for each in self.normalization)
        return (features - mean) / tf.sqrt(variance + _EPSILON)

    @property
    def streams(self):
        """Whether recordings may come in pieces, see `stream`."""
        centered = self.centered and self.kind == "log_mel"
        return not centered and self.normalization not in ("utterance", *_BY_LOUDEST)

    def first_tail(self, *shape):
        """What `stream` takes as `tail` at the beginning of streams, `(*shape, kept)`."""
        kept = first_tail(self.sample_rate) if self.kind == "log_mel" else 0
        return tf.zeros([*shape, kept])

    def stream(self, samples, tail):
        """The next samples of streams -> their next frames.

        However a recording is cut into chunks, its frames together are those of the whole. Up to
        10 ms at its end make no frame, unless they are all there is.

        Args:
            samples: float32 at the field's rate, `(..., samples)`, any number of them.
            tail: from the last call, at first `first_tail()`.

        Returns:
            `(frames, tail)`: `(..., frames, bands)`, maybe none, and what to keep for the next
            call, `(..., kept)`.

        Raises:
            ValueError: when the field needs the whole recording.
        """
        if not self.streams:
            raise ValueError(
                "A stream needs an `Audio` with `centered=False` and a `normalization` of None or "
                f"(mean, variance). Received: centered={self.centered} and "
                f"normalization={self.normalization!r}"
            )
        if self.kind == "waveform":
            return self._normalized(samples[..., tf.newaxis]), tail
        frames, tail = log_mel_chunk(samples, tail, self.sample_rate, self.bands)
        return self._normalized(_scaled(frames)), tail

    def pieces(self, file, rate=None):
        """A recording from a pipe -> its samples at the field's rate, as soon as they are there.

        Args:
            file: open for reading bytes: a WAV, whatever its header says of its length, or without
                a header 16-bit samples of one channel. FLAC, OGG and WAV of formats that only
                soundfile reads come as one piece, when `file` has ended.
            rate: samples a second of a recording without a header; None for the field's.

        Yields:
            float32 arrays `(samples,)`.

        Raises:
            ValueError: when nothing comes, it is no recording, or `rate` is none.
        """
        return pipes.pieces(file, self, rate)

    def load(self, value):
        """A recording that a person gives -> the bytes of a WAV that the graph decodes.

        A WAV that the graph decodes passes through; what else soundfile reads becomes a WAV of
        the same samples.

        Args:
            value: a path (`str` or `Path`, also `archive.zip/member.wav`), with `#t=1.5,3.25`
                behind it for a part in seconds; the `bytes` of a file; or `(array, rate)`, of
                float between -1 and 1 or of int16, int32 or uint8, `(samples,)` or
                `(samples, channels)`.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: when it is not a recording of at least one sample, at most `max_seconds`,
                of finite samples, and of a rate between 1 kHz and 384 kHz; names the file.
        """
        raw, span, name = sound_files.contents(value)
        try:
            raw = self._load(raw, span)
            header = wav.read_header(raw)
            if header.is_float and not np.isfinite(wav.numbers(raw, header)).all():
                raise ValueError("it has samples that are NaN or infinite")
        except ValueError as error:
            raise ValueError(_NO_RECORDING.format(name, error)) from None
        return raw

    def read(self, value):
        return self.load(value)

    def seconds(self, value):
        """How long a recording is that a person gives, of which only the header is read.

        Raises:
            FileNotFoundError: when there is no such file.
            ValueError: as `load`, where the header shows it.
        """
        raw, span, name = sound_files.contents(value)
        try:
            header = wav.read_header(raw)
            if not header.is_readable:
                with sound_files.open_other(raw) as file:
                    header = sound_files.header_of(file)
            first, last = self._part(header, span)
        except ValueError as error:
            raise ValueError(_NO_RECORDING.format(name, error)) from None
        return (last - first) / header.rate

    def frames(self, seconds):
        """How many frames recordings of these lengths give, `(count,)` -> `(count,)`."""
        samples = np.ceil(np.round(np.asarray(seconds) * self.sample_rate, 3)).astype(np.int64)
        if self.kind == "waveform":
            return samples
        return np.maximum(samples // window_and_hop(self.sample_rate)[1], 1)

    @property
    def frame_seconds(self):
        """How far apart frames are."""
        hop = 1 if self.kind == "waveform" else window_and_hop(self.sample_rate)[1]
        return hop / self.sample_rate

    def input(self, name):
        return (
            keras.Input((None, self.width), name=name),
            keras.Input((None,), dtype="bool", name=f"{name}_mask"),
        )

    def signature(self, name):
        return {f"{name}_bytes": tf.TensorSpec([None], tf.string, name=f"{name}_bytes")}

    def example(self, seed):
        random = np.random.default_rng(seed)
        time = np.arange(self.sample_rate // 2) / self.sample_rate
        tones = np.sin(2 * np.pi * random.uniform(100, 400, [3, 1]) * [[1], [2], [4]] * time)
        samples = 0.2 * tones.sum(axis=0) + random.normal(0, 0.01, len(time))
        return wav.pack(np.int16(2**14 * samples), self.sample_rate)

    def get_config(self):
        return {
            **super().get_config(),
            "sample_rate": self.sample_rate,
            "features": self.kind,
            "bands": self.bands,
            "normalization": self.normalization,
            "centered": self.centered,
            "max_seconds": self.max_seconds,
        }

    def _load(self, raw, span):
        header = wav.read_header(raw)
        if header.is_readable:
            first, last = self._part(header, span)
            return wav.cut(raw, header, first, last) if span else bytes(raw)
        with sound_files.open_other(raw) as file:
            first, last = self._part(sound_files.header_of(file), span)
            return wav.pack(sound_files.samples(file, first, last), file.samplerate)

    def _part(self, header, span):
        """The first sample of what is taken of a file, and the one after the last; checked."""
        first, last = 0, header.frames
        if span and header.frames and header.rate:
            first, last = (round(min(time * header.rate, header.frames)) for time in span)
            if first >= last:
                start, end = span
                seconds = header.frames / header.rate
                raise ValueError(f"between {start:g} s and {end:g} s of its {seconds:g} s is none")
        fault = wav.fault_of(header._replace(frames=last - first), self.max_seconds)
        if fault:
            raise ValueError(f"it is {fault}")
        return first, last


def _check_normalization(normalization, features, width):
    if normalization in (None, "utterance"):
        return normalization
    if normalization in _BY_LOUDEST and features == "log_mel":
        return normalization
    try:
        mean, variance = (np.asarray(each, np.float32) for each in normalization)
        sound = mean.shape == variance.shape and mean.shape in ((), (width,))
        sound = sound and np.isfinite(mean).all() and (variance >= 0).all()
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(
            '`normalization` should be "utterance", "whisper" or "peak" (of log-mel only), None or '
            f"(mean, variance), numbers or {width} of each. "
            f"Received: normalization={normalization!r}"
        )
    return mean.tolist(), variance.tolist()


@wav.rarely
def _samples(contents, where, sample_rate, max_seconds):
    header = wav.header_of(contents)
    with tf.control_dependencies([wav.refuse(header, max_seconds, where)]):
        header = wav.Header(*map(tf.identity, header))
    samples = wav.mono(contents, header)
    finite = tf.reduce_all(tf.math.is_finite(samples))
    message = tf.strings.join([where, "a WAV with samples that are NaN or infinite"])
    with tf.control_dependencies([tf.debugging.Assert(finite, [message])]):
        return tf.cond(
            header.rate == sample_rate,
            lambda: tf.identity(samples),
            lambda: resample(samples, header.rate, sample_rate),
        )


def _scaled(log_power):
    return (log_power + 4) / 4
