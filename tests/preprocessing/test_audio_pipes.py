import io

import numpy as np
import pytest
import soundfile

import mmkeras as mm

RATE = 8000
FIELD = mm.Audio(RATE)
SOUND = np.random.default_rng(0).uniform(-0.9, 0.9, (700, 2))


class Pipe(io.BytesIO):
    """Of which a few bytes come at a time."""

    def read1(self, size=-1):
        return super().read1(min(size, 201))


def file_of(sound=SOUND, rate=RATE, subtype="PCM_16", kind="WAV"):
    file = io.BytesIO()
    soundfile.write(file, sound, rate, subtype, format=kind)
    return file.getvalue()


def heard(raw):
    return list(FIELD.pieces(Pipe(raw)))


@pytest.mark.parametrize("kind", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
def test_pieces_are_the_whole(subtype, kind):
    raw = file_of(subtype=subtype, kind=kind)
    pieces = heard(raw)
    assert len(pieces) > 5
    np.testing.assert_array_equal(np.concatenate(pieces), FIELD.signal(raw))


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 700 * 2 + 999])
def test_sizes_that_are_not_true(size):
    raw = file_of(SOUND[:, 0])
    piped = raw[:40] + size.to_bytes(4, "little") + raw[44:]
    np.testing.assert_array_equal(np.concatenate(heard(piped)), FIELD.signal(raw))


def test_what_follows_the_samples_is_not_heard():
    raw = file_of()
    more = raw + b"LIST" + (100).to_bytes(4, "little") + bytes(range(100))
    np.testing.assert_array_equal(np.concatenate(heard(more)), FIELD.signal(raw))


def test_without_a_header_they_are_16_bits():
    samples = np.arange(-3000, 3000, 7, dtype="<i2")
    np.testing.assert_array_equal(
        np.concatenate(heard(samples.tobytes() + b"\1")), samples / np.float32(2**15)
    )


@pytest.mark.parametrize("rate", [1000, 7999, 44100])
def test_other_rates_are_heard_while_they_come(rate):
    sound = np.random.default_rng(1).uniform(-0.9, 0.9, 4 * rate)
    raw = file_of(sound, rate)
    pieces = list(FIELD.pieces(io.BytesIO(raw)))
    assert len(pieces) > 1
    np.testing.assert_allclose(np.concatenate(pieces), FIELD.signal(raw), atol=1e-5)


def test_of_another_rate_what_is_heard_does_not_wait_for_the_end():
    raw = file_of(np.zeros(24000), 16000)

    class Endless(Pipe):
        def read1(self, size=-1):
            more = super().read1(size)
            assert more, "the end was asked for"
            return more

    pieces = FIELD.pieces(Endless(raw))
    assert sum(len(next(pieces)) for _ in range(5)) > 5000


def test_the_rate_of_samples_without_a_header():
    samples = np.arange(-3000, 3000, dtype="<i2").tobytes()
    pieces = FIELD.pieces(Pipe(samples), rate=16000)
    wanted = mm.Audio(16000).pieces(Pipe(samples))
    expected = FIELD.load((np.concatenate(list(wanted)), 16000))
    np.testing.assert_allclose(np.concatenate(list(pieces)), FIELD.signal(expected), atol=1e-5)
    with pytest.raises(ValueError, match="`rate` should be a whole number from 1000 to 384000"):
        next(FIELD.pieces(Pipe(samples), rate=100))


@pytest.mark.parametrize("options", [{"subtype": "ALAW"}, {"kind": "FLAC"}])
def test_others_come_at_once(options):
    raw = file_of(**options)
    (samples,) = heard(raw)
    np.testing.assert_array_equal(samples, FIELD.signal(FIELD.load(raw)))


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"", "Received: nothing"),
        (b"RIFF....WAVE", "a WAV without a whole `fmt ` chunk"),
        (file_of()[:30], "it is a WAV of format 1 and 0 bits"),
        (file_of(np.full(10, np.nan), subtype="FLOAT"), "NaN or infinite"),
        (file_of(rate=100), "The recording is a WAV of 100 Hz; from 1000 to 384000 can be read"),
    ],
)
def test_what_is_no_recording(raw, message):
    with pytest.raises(ValueError, match=message):
        heard(raw)


def test_no_samples_are_no_pieces():
    assert heard(file_of()[:44]) == []
