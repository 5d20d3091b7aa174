"""WAV files: every kind of sample, every chunk, every way a header can lie."""

import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mmkeras.preprocessing import wav
from mmkeras.preprocessing.audio import Audio

RATE = 16000
AUDIO = Audio(features="waveform", normalization=None)


def chunk(name, data):
    return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)


def form(tag, channels, rate, bits, extra=b""):
    block = channels * bits // 8
    return struct.pack("<HHIIHH", tag, channels, rate, rate * block, block, bits) + extra


def riff(*chunks, magic=b"RIFF"):
    body = b"WAVE" + b"".join(chunks)
    return magic + struct.pack("<I", len(body)) + body


def encode(samples, bits, floating=False):
    if floating:
        return samples.astype(f"<f{bits // 8}").tobytes()
    if bits == 8:
        return (samples * 128 + 128).astype(np.uint8).tobytes()
    numbers = (samples * 2.0 ** (bits - 1)).astype("<i4")
    return numbers.view(np.uint8).reshape(-1, 4)[:, : bits // 8].tobytes()


def noise(count, channels=1, seed=0):
    """Samples that 8 bits hold exactly."""
    return np.random.default_rng(seed).integers(-128, 128, (count, channels)) / 128


def plain(samples, rate=RATE):
    return wav.pack((samples * 2**15).astype(np.int16), rate)


KINDS = [(8, False), (16, False), (24, False), (32, False), (32, True), (64, True)]


@pytest.mark.parametrize("channels", [1, 2, 5, 32])
@pytest.mark.parametrize(("bits", "floating"), KINDS)
def test_kinds_and_channels(bits, floating, channels):
    samples = noise(100, channels)
    header = form(3 if floating else 1, channels, RATE, bits)
    raw = riff(chunk(b"fmt ", header), chunk(b"data", encode(samples, bits, floating)))
    np.testing.assert_allclose(AUDIO.signal(raw), samples.mean(1), atol=1e-7)
    assert AUDIO.load(raw) == raw


@pytest.mark.parametrize(("bits", "floating"), KINDS)
def test_extensible(bits, floating):
    guid = struct.pack("<H", 3 if floating else 1) + bytes.fromhex("000000001000800000aa00389b71")
    extra = struct.pack("<HHI", 22, bits, 3) + guid
    header = form(0xFFFE, 2, RATE, bits, extra)
    samples = noise(50, 2)
    raw = riff(chunk(b"fmt ", header), chunk(b"data", encode(samples, bits, floating)))
    np.testing.assert_allclose(AUDIO.signal(raw), samples.mean(1), atol=1e-7)


def test_twenty_four_bits_in_the_room_of_thirty_two():
    samples = noise(50)
    header = struct.pack("<HHIIHH", 1, 1, RATE, 4 * RATE, 4, 24)
    raw = riff(chunk(b"fmt ", header), chunk(b"data", encode(samples, 32)))
    np.testing.assert_array_equal(AUDIO.signal(raw), samples[:, 0])


def test_the_loudest_and_the_most_quiet_sample():
    raw = wav.pack(np.array([-(2**15), 2**15 - 1, 0, 1], np.int16), RATE)
    np.testing.assert_array_equal(AUDIO.signal(raw) * 2**15, [-(2**15), 2**15 - 1, 0, 1])


class TestChunks:
    samples = noise(101)
    form = chunk(b"fmt ", form(1, 1, RATE, 8))
    data = chunk(b"data", encode(samples, 8))
    before = chunk(b"JUNK", bytes(7)) + chunk(b"bext", b"x" * 300)
    after = chunk(b"LIST", b"INFOISFT\5\0\0\0abcd\0")

    @pytest.mark.parametrize(
        "chunks",
        [
            (form, data, after),
            (before, form, data),
            (form, before, data),
            (before, form, before, data, after),
            (chunk(b"fmt ", form[8:24] + b"\0\0"), data),
        ],
    )
    def test_others_are_passed_over(self, chunks):
        np.testing.assert_array_equal(AUDIO.signal(riff(*chunks)), self.samples[:, 0])

    @pytest.mark.parametrize("bits", [8, 16])
    @pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFF000, 1000])
    @pytest.mark.parametrize("whole", [0, 36, 0xFFFFFFFF])
    def test_a_size_that_lies_means_what_is_there(self, bits, size, whole):
        header = chunk(b"fmt ", form(1, 1, RATE, bits))
        raw = riff(header, b"data" + struct.pack("<I", size), encode(self.samples, bits))
        raw = raw[:4] + struct.pack("<I", whole) + raw[8:]
        np.testing.assert_array_equal(AUDIO.signal(raw), self.samples[:, 0])
        assert AUDIO.seconds(raw) == 101 / RATE

    def test_no_samples_before_more_chunks_are_no_samples(self):
        raw = riff(self.form, chunk(b"data", b""), self.after)
        with pytest.raises(ValueError, match="a WAV without samples"):
            AUDIO.load(raw)

    def test_cut_off_within_a_sample(self):
        raw = plain(self.samples)[:-1]
        np.testing.assert_array_equal(AUDIO.signal(raw), self.samples[:-1, 0])
        assert len(AUDIO.signal(AUDIO.load(raw))) == 100

    def test_sixty_four_bit_sizes(self):
        sizes = struct.pack("<QQQI", 0, 101, 101, 0)
        data = b"data" + b"\xff" * 4 + self.data[8:]
        raw = riff(chunk(b"ds64", sizes), self.form, data, self.after, magic=b"RF64")
        np.testing.assert_array_equal(AUDIO.signal(raw), self.samples[:, 0])

    def test_a_million_empty_chunks_are_given_up_soon(self):
        raw = riff(self.form, b"\0" * 8_000_000, self.data)
        with pytest.raises(ValueError, match="without a `data` chunk"):
            AUDIO.load(raw)
        with pytest.raises(tf.errors.InvalidArgumentError, match="without a `data` chunk"):
            AUDIO.signal(raw)


def test_more_samples_than_are_decoded_at_once():
    samples = noise(300_000, 16)
    raw = riff(chunk(b"fmt ", form(3, 16, RATE, 64)), chunk(b"data", encode(samples, 64, True)))
    np.testing.assert_allclose(AUDIO.signal(raw), samples.mean(1), atol=1e-7)


BAD = {
    "an empty file": (b"", "an empty file (0 bytes)"),
    "text": (b"hello, this is no sound at all, and long enough", "not a WAV file"),
    "big endian": (b"RIFX" + plain(noise(5))[4:], "not a WAV file"),
    "another RIFF": (b"RIFF\x20\0\0\0AVI LIST" + bytes(50), "not a WAV file"),
    "a magic only": (b"RIFF\x20\0\0\0WAVE", "a WAV without a whole `fmt ` chunk"),
    "no fmt": (riff(TestChunks.data), "a WAV without a whole `fmt ` chunk"),
    "no data": (riff(TestChunks.form, TestChunks.after), "a WAV without a `data` chunk"),
    "data before fmt": (riff(TestChunks.data, TestChunks.form), "without a whole `fmt ` chunk"),
    "no samples": (plain(noise(0)), "a WAV without samples"),
    "half a sample": (plain(noise(1))[:-1], "a WAV without samples"),
    "no channels": (riff(chunk(b"fmt ", form(1, 0, RATE, 16)), TestChunks.data), "0 channels"),
    "100 Hz": (plain(noise(50), 100), "a WAV of 100 Hz; from 1000 to 384000 can be read"),
    "0 Hz": (plain(noise(50), 0), "a WAV of 0 Hz"),
    "a MHz": (plain(noise(50), 10**6), "a WAV of 1000000 Hz"),
    "ADPCM": (
        riff(chunk(b"fmt ", form(2, 1, RATE, 4)), TestChunks.data),
        "a WAV of format 2 and 4 bits; PCM of 8, 16, 24 and 32 bits and float",
    ),
}


@pytest.mark.parametrize("raw", [pair[0] for pair in BAD.values()], ids=list(BAD))
def test_bad_headers(raw):
    (message,) = (message for other, message in BAD.values() if other == raw)
    good = plain(noise(9))
    for call, where in ((lambda: AUDIO(raw), "it is"), (lambda: AUDIO([good, raw]), "row 1 is")):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            call()
        assert where in caught.value.message
        assert message in caught.value.message
    for function in (AUDIO.load, AUDIO.seconds):
        with pytest.raises(ValueError, match="Received: audio=<") as caught:
            function(raw)
        assert message in str(caught.value)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_that_are_not_finite(value, dtype):
    samples = np.zeros((100, 2), dtype)
    samples[70, 1] = value
    raw = wav.pack(samples, RATE)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"row 0 is .* NaN or infinite"):
        AUDIO([raw])
    with pytest.raises(ValueError, match="NaN or infinite"):
        AUDIO.load(raw)


def test_too_long_is_refused_before_it_is_decoded():
    audio = Audio(max_seconds=1.5)
    samples = noise(24001)
    assert audio.seconds(plain(samples[:-1])) == 1.5
    for rate in (RATE, RATE - 1):
        raw = plain(samples, rate)
        with pytest.raises(ValueError, match=r"2 seconds; at most 1\.5 are allowed"):
            audio.load(raw)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"2 seconds; at most 1\.5 are"):
            audio.signal(raw)


HEADER_OF = tf.function(
    wav.header_of, input_signature=[tf.TensorSpec([], tf.string)], autograph=False
)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_python_and_the_graph_read_the_same(data):
    magic = data.draw(st.sampled_from([b"RIFF", b"RIFF", b"RF64", b"RIFX"]))
    numbers = st.sampled_from([0, 1, 2, 3, 4, 8, 16, 24, 32, 36, 100, 0xFFFE])
    chunks = []
    for name in data.draw(st.lists(st.sampled_from([b"fmt ", b"data", b"LIST", b"ds64"]))):
        body = data.draw(st.binary(max_size=40))
        if name == b"fmt ":
            tag, channels, block, bits = (data.draw(numbers) for _ in range(4))
            body = struct.pack("<HHIIHH", tag, channels, RATE, 0, block, bits) + body
        size = data.draw(st.sampled_from([len(body)] * 6 + [0, 7, 0xFFFFFFFF]))
        chunks.append(name + struct.pack("<I", size) + body + b"\0" * (len(body) % 2))
    raw = riff(*chunks, magic=magic)
    raw = raw[: data.draw(st.sampled_from([len(raw)] * 3 + list(range(60))))]
    if data.draw(st.booleans()):
        raw = raw[:4] + struct.pack("<I", data.draw(numbers)) + raw[8:]
    assert tuple(wav.read_header(raw)) == tuple(int(each) for each in HEADER_OF(raw))


@settings(max_examples=50, deadline=None)
@given(st.binary(max_size=80))
def test_any_bytes_are_decoded_or_refused(end):
    raw = plain(noise(4))
    raw = raw[: max(0, 44 - len(end))] + end
    header = wav.read_header(raw)
    if wav.fault_of(header) is None:
        assert len(AUDIO.signal(raw)) >= 1
    else:
        with pytest.raises(tf.errors.InvalidArgumentError, match="it is "):
            AUDIO.signal(raw)
