from pathlib import Path

import pytest

from mmkeras.data import hold_out, read, read_manifest
from mmkeras.data.speech import (
    read_an4,
    read_common_voice,
    read_fsdd,
    read_kaldi,
    read_librispeech,
    read_ljspeech,
)

DATA = Path(__file__).parents[3] / "shared" / "data"


def lay_out(folder, files):
    """Files by path; recordings are never opened, so they hold nothing."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(folder)


def data(name):
    if not (DATA / name).is_dir():
        pytest.skip(f"needs ../shared/data/{name}")
    return str(DATA / name)


CHAPTER = {
    "84/121123/84-121123.trans.txt": "84-121123-0000 GO DO YOU HEAR\n84-121123-0001 BUT IN\n",
    "84/121123/84-121123-0000.flac": "",
    "84/121123/84-121123-0001.wav": "",
    "174/5/174-5.trans.txt": "174-5-0000 A TALE\n",
    "174/5/174-5-0000.flac": "",
}
CLIPS = {
    "dev.tsv": "client_id\tpath\tsentence\tage\n"
    'ab1\ta.mp3\t"Bore da", meddai.\t\ncd2\tb\tIe\tten\n',
    "clips/a.mp3": "",
    "clips/b.mp3": "",
}
KALDI = {
    "wav.scp": "rec1 sound/one.wav\nrec2 sound/two one.flac\n",
    "segments": "u1 rec1 0.5 2.25\nu2 rec1 2.25 -1\nu3\trec2 0 1\n",
    "text": "u1 yes\nu2 no no\nu3 maybe so\n",
    "utt2spk": "u1 ann\nu2 ann\nu3 ben\n",
    "sound/one.wav": "",
    "sound/two one.flac": "",
}
LJ = {
    "metadata.csv": 'LJ1|Dr. "X" has 2.|Doctor "X" has two.\nLJ2|Yes.\n',
    "wavs/LJ1.wav": "",
    "wavs/LJ2.flac": "",
}
AN4 = {
    "etc/an4_train.fileids": "an4_clstk/fash/an251-fash-b\nan4_clstk/mkem/cen1-mkem-b\n",
    "etc/an4_train.transcription": "<s> YES </s> (an251-fash-b)\n<s> A B </s> (cen1-mkem-b)\n",
    "etc/an4_test.fileids": "an4test_clstk/fcaw/an406-fcaw-b\n",
    "etc/an4_test.transcription": "RUBOUT G THREE (an406-fcaw-b)\n",
    "wav/an4_clstk/fash/an251-fash-b.sph": "",
    "wav/an4_clstk/mkem/cen1-mkem-b.sph": "",
    "wav/an4test_clstk/fcaw/an406-fcaw-b.sph": "",
}
DIGITS = {f"recordings/{name}.wav": "" for name in ("7_jackson_32", "0_theo_2", "7_jackson_4")}
TIMIT = {
    "TRAIN/DR1/FCJF0/SA1.TXT": "0 46797 She had your dark suit.\n",
    "TRAIN/DR1/FCJF0/SA1.WAV": "",
    "TEST/DR2/MABW0/SX1.TXT": "0 10 Don't.\n",
    "TEST/DR2/MABW0/SX1.WAV": "",
    "TRAIN/README.TXT": "What this is.\n",
}


class TestLibriSpeech:
    def test_records(self, tmp_path):
        folder = lay_out(tmp_path, CHAPTER)
        assert read_librispeech(folder) == {
            "audio": [
                f"{folder}/174/5/174-5-0000.flac",
                f"{folder}/84/121123/84-121123-0000.flac",
                f"{folder}/84/121123/84-121123-0001.wav",
            ],
            "transcript": ["A TALE", "GO DO YOU HEAR", "BUT IN"],
            "speaker": ["174", "84", "84"],
        }

    def test_subsets(self, tmp_path):
        for subset in ("train-clean-100", "train-other-500", "dev-clean", "test-other"):
            lay_out(tmp_path / subset, CHAPTER)
        train, valid, test = read("librispeech", tmp_path)
        assert (len(train["audio"]), len(valid["audio"]), test) == (6, 3, None)
        assert "test-other" in read("librispeech", tmp_path, test="test-other")[2]["audio"][0]
        train, *others = read("librispeech", tmp_path / "dev-clean")
        assert (train, others) == (valid, [None, None])

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("84-121123-0000 TWICE", "comes twice"),
            ("84-121123-0001", "`transcript` is empty"),
            ("84-121123-0009 GONE", "there is no recording '.*0009'"),
            ("WORDS ALONE", "should be `SPK-CHAPTER-UTT text`"),
        ],
    )
    def test_what_is_wrong_is_named_or_counted(self, tmp_path, line, message):
        lines = f"84-121123-0000 GO\n{line}\n"
        folder = lay_out(tmp_path, CHAPTER | {"84/121123/84-121123.trans.txt": lines})
        with pytest.raises(ValueError, match=f"84-121123.trans.txt, line 2: .*{message}"):
            read_librispeech(folder)
        with pytest.warns(UserWarning, match="skipped 1 wrong entries"):
            found = read_librispeech(folder, on_error="skip")
        assert found["transcript"] == ["A TALE", "GO"]

    def test_real_recordings(self, tmp_path):
        for file in sorted(Path(data("speech_samples"), "librispeech").glob("*.flac")):
            speaker, chapter, _ = file.stem.split("-")
            home = tmp_path / speaker / chapter
            home.mkdir(parents=True, exist_ok=True)
            (home / file.name).symlink_to(file)
            with open(home / f"{speaker}-{chapter}.trans.txt", "a") as lines:
                lines.write(f"{file.stem} WORDS OF {file.stem}\n")
        found = read_librispeech(tmp_path)
        assert found["speaker"] == ["1089"] * 4
        assert found["transcript"][0] == "WORDS OF 1089-134686-0000"


class TestCommonVoice:
    def test_records(self, tmp_path):
        folder = lay_out(tmp_path, CLIPS)
        assert read_common_voice(f"{folder}/dev.tsv") == {
            "audio": [f"{folder}/clips/a.mp3", f"{folder}/clips/b.mp3"],
            "transcript": ['"Bore da", meddai.', "Ie"],
            "speaker": ["ab1", "cd2"],
        }
        train, valid, test = read("common_voice", folder)
        assert (train, len(valid["audio"]), test) == (None, 2, None)

    def test_clips_elsewhere_and_no_speakers(self, tmp_path):
        lay_out(tmp_path / "sound", {"a.mp3": ""})
        lay_out(tmp_path, {"all.tsv": "sentence\tpath\nIe\ta.mp3\n"})
        found = read_common_voice(f"{tmp_path}/all.tsv", tmp_path / "sound")
        assert found == {"audio": [f"{tmp_path}/sound/a.mp3"], "transcript": ["Ie"]}

    @pytest.mark.parametrize(
        ("table", "message"),
        [
            ("path\ttext\n", r"line 1: the header should name \['sentence'\]"),
            ("", r"line 1: the header should name \['path', 'sentence'\]"),
            ("path\tsentence\na.mp3\n", "line 2: should have 2 fields"),
            ("path\tsentence\na.mp3\tx\nz.mp3\tx\n", "line 3: there is no recording"),
            ("path\tsentence\n", "holds no recording with a transcript"),
            (b"path\tsentence\na.mp3\t\xff\n", "line 2: 'utf-8' codec"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, table, message):
        folder = lay_out(tmp_path, CLIPS | {"dev.tsv": table})
        with pytest.raises(ValueError, match=f"dev.tsv.*{message}"):
            read_common_voice(f"{folder}/dev.tsv")


class TestKaldi:
    def test_segments(self, tmp_path):
        folder = lay_out(tmp_path, KALDI)
        assert read_kaldi(folder) == {
            "audio": [
                f"{folder}/sound/one.wav#t=0.5,2.25",
                f"{folder}/sound/one.wav#t=2.25",
                f"{folder}/sound/two one.flac#t=0,1",
            ],
            "transcript": ["yes", "no no", "maybe so"],
            "speaker": ["ann", "ann", "ben"],
        }

    def test_whole_recordings_without_speakers(self, tmp_path, monkeypatch):
        files = {"wav.scp": "a sound/one.wav\n", "text": "a yes\n"}
        folder = lay_out(tmp_path / "data", files)
        lay_out(tmp_path, {"sound/one.wav": ""})
        monkeypatch.chdir(tmp_path)
        assert read_kaldi(folder) == {"audio": ["sound/one.wav"], "transcript": ["yes"]}

    def test_folders_of_a_recipe(self, tmp_path):
        for split in ("train", "dev", "eval"):
            lay_out(tmp_path / split, KALDI)
        assert [len(each["audio"]) for each in read("kaldi", tmp_path)] == [3, 3, 3]
        train, *others = read("kaldi", tmp_path / "dev")
        assert len(train["audio"]) == 3
        assert others == [None, None]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"wav.scp": "rec1 sph2pipe -f wav one.sph |\n"}, "segments, line 1: .*by a command"),
            ({"wav.scp": "rec1 all.ark:1745\n"}, "segments, line 1: .*a place in an archive"),
            ({"wav.scp": "rec1 gone.wav\n"}, "segments, line 1: there is no recording 'gone.wav'"),
            ({"wav.scp": "r sound/one.wav\n"}, "line 1: there is no recording 'rec1' in wav.scp"),
            ({"wav.scp": "rec1 a\nrec1 b\n"}, "wav.scp, line 2: 'rec1' comes twice"),
            ({"segments": "u1 rec1 0.5\n"}, "segments, line 1: should be `ID recording start end`"),
            ({"segments": "u1 rec1 a b\n"}, "line 1: `start` should be a number of seconds"),
            ({"segments": "u1 rec1 2 1\n"}, "segments, line 1: should start at 0 or later"),
            ({"text": "u1\n"}, "segments, line 1: `transcript` is empty"),
            ({"text": "u2 no\n"}, "segments, line 1: there is no 'u1' in text"),
            ({"utt2spk": "u1 ann\n"}, "segments, line 2: there is no 'u2' in utt2spk"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, message):
        with pytest.raises(ValueError, match=message):
            read_kaldi(lay_out(tmp_path, KALDI | change))

    def test_commands_are_skipped_and_counted(self, tmp_path):
        scp = f"{KALDI['wav.scp']}rec3 cat x |\n"
        files = KALDI | {"wav.scp": scp, "segments": f"{KALDI['segments']}u4 rec3 0 1\n"}
        with pytest.warns(UserWarning, match="skipped 1 wrong entries"):
            assert len(read_kaldi(lay_out(tmp_path, files), on_error="skip")["audio"]) == 3

    def test_missing_text(self, tmp_path):
        files = {name: text for name, text in KALDI.items() if name != "text"}
        with pytest.raises(FileNotFoundError, match="text"):
            read_kaldi(lay_out(tmp_path, files))


class TestLJSpeech:
    def test_the_normalized_text_is_taken(self, tmp_path):
        folder = lay_out(tmp_path, LJ)
        assert read_ljspeech(folder) == {
            "audio": [f"{folder}/wavs/LJ1.wav", f"{folder}/wavs/LJ2.flac"],
            "transcript": ['Doctor "X" has two.', "Yes."],
        }
        assert read("ljspeech", folder) == (read_ljspeech(folder), None, None)

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("LJ2", "should be `ID|text|normalized text`"),
            ("LJ2|a|b|c", "should be `ID|text|normalized text`"),
            ("LJ2|two|", "`transcript` is empty"),
            ("LJ9|a|b", "there is no recording"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, line, message):
        folder = lay_out(tmp_path, LJ | {"metadata.csv": f"LJ1|a|a\n{line}\n"})
        with pytest.raises(ValueError, match=r"metadata.csv, line 2: .*" + message.split("|")[0]):
            read_ljspeech(folder)


class TestAN4:
    def test_original_layout(self, tmp_path):
        folder = lay_out(tmp_path, AN4)
        train, valid, test = read("an4", folder)
        assert train == {
            "audio": [
                f"{folder}/wav/an4_clstk/fash/an251-fash-b.sph",
                f"{folder}/wav/an4_clstk/mkem/cen1-mkem-b.sph",
            ],
            "transcript": ["YES", "A B"],
            "speaker": ["fash", "mkem"],
        }
        assert valid is None
        assert (test["transcript"], test["speaker"]) == (["RUBOUT G THREE"], ["fcaw"])

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("<s> NO </s>", "should be `<s> WORDS </s>"),
            ("<s> NO </s> (an9-x-b)", "there is no 'an9-x-b' in .*fileids"),
            ("<s> </s> (cen1-mkem-b)", "`transcript` is empty"),
            ("<s> A </s> (an251-fash-b)", "comes twice"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, line, message):
        text = f"<s> YES </s> (an251-fash-b)\n{line}\n"
        folder = lay_out(tmp_path, AN4 | {"etc/an4_train.transcription": text})
        with pytest.raises(ValueError, match=f"transcription, line 2: .*{message}"):
            read_an4(folder)

    def test_missing_split(self, tmp_path):
        with pytest.raises(ValueError, match=r"`folder` should hold `etc/.*_dev.fileids`"):
            read_an4(lay_out(tmp_path, AN4), "dev")

    def test_real(self):
        train, valid, test = read("an4", data("an4"))
        assert len(train["audio"]) == 948
        assert len(set(train["speaker"])) == 74
        assert sum(len(text.split()) for text in train["transcript"]) == 5442
        assert valid is test is None
        assert Path(train["audio"][-1]).is_file()


class TestDigits:
    def test_names(self, tmp_path):
        folder = lay_out(tmp_path, DIGITS)
        train, valid, test = read("fsdd", folder)
        assert train == {
            "audio": [f"{folder}/recordings/7_jackson_32.wav"],
            "transcript": ["seven"],
            "speaker": ["jackson"],
        }
        assert valid is None
        assert test["transcript"] == ["zero", "seven"]
        assert read_fsdd(f"{folder}/recordings", takes=range(3))["speaker"] == ["theo"]

    def test_other_names(self, tmp_path):
        folder = lay_out(tmp_path, DIGITS | {"recordings/eight.wav": "", "recordings/notes": ""})
        with pytest.raises(ValueError, match=r"eight.wav: should be named `DIGIT_SPEAKER_TAKE"):
            read_fsdd(folder)
        with pytest.warns(UserWarning, match="skipped 1 wrong entries"):
            assert len(read_fsdd(folder, on_error="skip")["audio"]) == 3

    def test_none(self, tmp_path):
        with pytest.raises(ValueError, match="holds no recording"):
            read_fsdd(tmp_path)

    def test_real(self):
        train, _, test = read("fsdd", data("fsdd"))
        assert (len(train["audio"]), test) == (2250, None)
        assert len(set(train["speaker"])) == 5
        rest, george = hold_out(train, ["george"])
        assert (len(rest["audio"]), len(george["audio"])) == (1800, 450)
        assert train["transcript"][0] == "zero"


class TestTimit:
    def test_original_layout(self, tmp_path):
        train, valid, test = read("timit", lay_out(tmp_path, TIMIT))
        assert train == {
            "audio": [f"{tmp_path}/TRAIN/DR1/FCJF0/SA1.WAV"],
            "transcript": ["She had your dark suit."],
            "speaker": ["FCJF0"],
        }
        assert (valid, test["transcript"]) == (None, ["Don't."])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"TRAIN/DR1/FCJF0/SA1.TXT": "She had"}, "line 1: should be `start end sentence`"),
            ({"TRAIN/DR1/FCJF0/SA2.TXT": "0 9 Don't."}, "line 1: there is no recording"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, change, message):
        with pytest.raises(ValueError, match=rf"SA\d.TXT, {message}"):
            read("timit", lay_out(tmp_path, TIMIT | change))

    def test_real(self):
        train, valid, test = read("timit", data("timit_sample"))
        assert len(train["audio"]) == 140
        assert len(set(train["speaker"])) == 14
        assert valid is test is None


class TestManifest:
    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("all.csv", "audio,text,speaker\na.wav,yes,ann\nsub/b.flac,no,7\n"),
            ("all.tsv", "audio\ttranscript\tspeaker\na.wav\tyes\tann\nsub/b.flac\tno\t7\n"),
            (
                "all.jsonl",
                '{"audio": "a.wav", "text": "yes", "speaker": "ann"}\n'
                '{"audio": "sub/b.flac", "transcript": "no", "speaker": 7}\n',
            ),
        ],
    )
    def test_forms(self, tmp_path, name, content):
        folder = lay_out(tmp_path, {name: content, "a.wav": "", "sub/b.flac": ""})
        expected = {
            "audio": [f"{folder}/a.wav", f"{folder}/sub/b.flac"],
            "transcript": ["yes", "no"],
            "speaker": ["ann", "7"],
        }
        assert read_manifest(f"{folder}/{name}") == expected
        assert read("manifest", f"{folder}/{name}", split="test") == (None, None, expected)

    def test_parts_of_recordings(self, tmp_path):
        rows = [
            '"start": 0.1, "duration": 0.2',
            '"start": 1.5',
            '"duration": 2.0000001',
            '"start": 3, "duration": null',
        ]
        lines = "".join(f'{{"audio": "a.wav", "text": "x", {row}}}\n' for row in rows)
        lines += '{"audio": "a.wav#t=7,8", "text": "x"}\n'
        folder = lay_out(tmp_path, {"all.jsonl": lines, "a.wav": ""})
        found = read_manifest(f"{folder}/all.jsonl")["audio"]
        parts = ["0.1,0.3", "1.5", "0,2", "3", "7,8"]
        assert found == [f"{folder}/a.wav#t={part}" for part in parts]

    def test_splits(self, tmp_path):
        table = "audio,text,split\na.wav,yes,train\nb.wav,no,dev\n"
        folder = lay_out(tmp_path, {"all.csv": table, "a.wav": "", "b.wav": ""})
        train, valid, test = read("manifest", f"{folder}/all.csv")
        assert (train["transcript"], valid["transcript"], test) == (["yes"], ["no"], None)
        assert read_manifest(f"{folder}/all.csv")["transcript"] == ["yes", "no"]

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            (
                "m.jsonl",
                '{"audio": "a.wav", "text": "x"}\nnot json\n',
                "line 2: should be a JSON object",
            ),
            ("m.jsonl", '{"audio": "a.wav"}', "line 1: `text` should be a string. Received: None"),
            ("m.jsonl", '{"audio": 3, "text": "x"}', "line 1: `audio` should be a string"),
            ("m.jsonl", '{"audio": "a.wav", "text": " "}', "line 1: `text` is empty"),
            ("m.jsonl", '{"audio": "z.wav", "text": "x"}', "line 1: there is no audio .*z.wav"),
            (
                "m.jsonl",
                '{"audio": "a.wav", "text": "x"}\n{"image": "a.jpg", "caption": "x"}',
                "line 2: should have `audio`, as the lines before",
            ),
            ("m.jsonl", '{"audio": "a.wav", "text": "x"}\n' * 2, "line 2: .*comes twice"),
            (
                "m.jsonl",
                '{"audio": "a.wav", "text": "x", "start": "soon"}',
                "line 1: `start` should be a number of seconds. Received: 'soon'",
            ),
            (
                "m.jsonl",
                '{"audio": "a.wav", "text": "x", "start": 1, "duration": 0}',
                "line 1: should start at 0 or later, and end after",
            ),
            ("m.csv", "audio,words\n", r"line 1: the header should name \['text'\]"),
            ("m.csv", "audio,text\n", "holds no"),
            ("m.csv", "audio,text,speaker\na.wav,x,ann\nb.wav,x,\n", "some have a speaker"),
        ],
    )
    def test_what_is_wrong_is_named(self, tmp_path, name, content, message):
        folder = lay_out(tmp_path, {name: content, "a.wav": "", "b.wav": ""})
        with pytest.raises(ValueError, match=f"(?s){name}.*{message}"):
            read_manifest(f"{folder}/{name}")

    def test_lines_that_are_not_json_are_counted(self, tmp_path):
        lines = '{"audio": "a.wav", "text": "x"}\nnot json\n{"audio": "b.wav"}\n'
        folder = lay_out(tmp_path, {"m.jsonl": lines, "a.wav": "", "b.wav": ""})
        with pytest.warns(UserWarning, match=r"(?s)m.jsonl: skipped 2 .*line 2.*line 3"):
            found = read_manifest(f"{folder}/m.jsonl", on_error="skip")
        assert found == {"audio": [f"{folder}/a.wav"], "transcript": ["x"]}

    def test_the_folder_without_the_layout(self, tmp_path):
        for layout in ("common_voice", "kaldi", "ljspeech", "librispeech", "an4"):
            with pytest.raises(ValueError, match="but none of its files is there"):
                read(layout, tmp_path)
