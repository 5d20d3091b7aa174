import io
import json

import pytest
from PIL import Image

import mmkeras as mm
from mmkeras.cli import main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A saved model, its export and a photo."""
    folder = tmp_path_factory.mktemp("cli")
    words = mm.train_tokenizer(["a red dog", "two birds"], "word")
    model = mm.image_captioning(words, 32, decoder="lstm", size="tiny", sequence_length=4)
    model.save(folder / "model.keras")
    mm.export(model, folder / "export", beam_width=None)
    photo = io.BytesIO()
    Image.new("RGB", (40, 30), "red").save(photo, "JPEG")
    (folder / "a.jpg").write_bytes(photo.getvalue())
    return folder


@pytest.mark.parametrize("model", ["model.keras", "export"])
def test_infer_prints_text_or_json(model, folder, capsys):
    photo = str(folder / "a.jpg")
    assert main(["infer", str(folder / model), "--image", photo, photo]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].split("\t")[0] == photo
    assert main(["infer", str(folder / model), "--json", "--image", photo]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert set(answer) == {"image", "caption", "score"}
    assert lines[0].split("\t")[1] == answer["caption"]


def test_verify_and_inspect(folder, capsys):
    assert main(["verify", str(folder / "export")]) == 0
    assert capsys.readouterr().out == "equal\n"
    assert main(["inspect", str(folder / "export")]) == 0
    assert "signature serving_default: takes image_bytes [None] string" in capsys.readouterr().out
    assert main(["inspect", str(folder / "model.keras")]) == 0
    shown = capsys.readouterr().out
    assert "input image: Image (32, 32, 3) uint8" in shown
    assert "vocabulary of caption: 9 (WordTokenizer)" in shown


def test_verify_says_what_differs(folder, capsys, tmp_path):
    (tmp_path / "1").mkdir()
    for file in (folder / "export" / "1").rglob("*"):
        if file.is_file():
            copy = tmp_path / "1" / file.relative_to(folder / "export" / "1")
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
    (tmp_path / "1" / "fingerprint.pb").write_bytes(b"other")
    assert main(["verify", str(tmp_path)]) == 1
    assert "fingerprint.pb was changed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["infer", "none.keras", "--image", "a.jpg"], "No model file none.keras"),
        (["infer", "MODEL", "--image", "none.jpg"], "none.jpg"),
        (["infer", "MODEL", "a.jpg"], "such as --image a.jpg"),
        (["infer", "MODEL"], "such as --image photo.jpg"),
        (["infer", "MODEL", "--photo", "a.jpg"], "with the names ['image']"),
        (["verify", "nothing"], "nothing"),
        (["verify", "nothing", "--fast"], "Unknown arguments: --fast"),
    ],
)
def test_errors_are_one_line(arguments, message, folder, capsys):
    arguments = [str(folder / "model.keras") if a == "MODEL" else a for a in arguments]
    assert main(arguments) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("mmkeras: ")
    assert message in said
