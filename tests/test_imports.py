"""Who may import whom, and what importing costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "mmkeras"

# Each room, and the rooms of ours that it may import. Data flows one way: no cycles.
ALLOWED = {
    "startup": set(),
    "preprocessing": set(),
    "metrics": {"version"},
    "replicas": set(),
    "losses": {"replicas"},
    "layers": set(),
    "data": {"preprocessing"},
    "decoders": {"layers", "losses"},
    "encoders": {"layers"},
    "heads": {"layers", "losses", "replicas"},
    "fusion": {"layers", "losses"},
    "steps": {"replicas"},
    "task": {"steps"},
    "word_vectors": set(),
    "schedules": set(),
    "assembly": {"fusion", "preprocessing", "schedules", "task"},
    "builders": {
        *("assembly", "decoders", "encoders", "fusion", "heads", "layers"),
        *("preprocessing", "task"),
    },
    "training": {"assembly", "data", "preprocessing", "replicas", "task"},
    "evaluation": {"data", "metrics", "preprocessing"},
    "explanation": {"layers", "preprocessing"},
    "report": {"evaluation", "explanation", "metrics", "preprocessing", "version"},
    "index": {"data"},
    "streaming": set(),
    "serving": {"streaming", "version"},
    "server": {"serving"},
    "client": set(),
    "cli": {"startup", "version"},
    "__main__": {"cli"},
}


def imports_of(path):
    """Rooms of ours that a file imports, wherever in the file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] == "mmkeras":
                room = parts[1] if len(parts) > 1 else "version"
                yield "version" if room == "__version__" else room


def room_of(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_rooms_import_only_what_they_may():
    wrong = {
        f"{path.relative_to(PACKAGE)} imports {room}"
        for path in PACKAGE.rglob("*.py")
        if path != PACKAGE / "__init__.py"
        for room in imports_of(path)
        if room != room_of(path) and room not in ALLOWED[room_of(path)]
    }
    assert not wrong


def test_the_table_has_no_cycle():
    left = {room: set(others) - {"version"} for room, others in ALLOWED.items()}
    while left:
        free = {room for room, others in left.items() if not others & set(left)}
        assert free, f"these import each other: {sorted(left)}"
        left = {room: others for room, others in left.items() if room not in free}


def test_recipes_use_public_names_only():
    recipes = PACKAGE.parent / "recipes"
    names = {name for path in recipes.glob("*.py") for name in imports_of(path)}
    assert names <= {"version"}


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_importing_loads_no_tensorflow():
    code = "import sys, mmkeras; print(sorted({'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    assert run(code).stdout.strip() == "[]"


def test_start_up_is_quiet():
    result = run("import mmkeras as mm; mm.Task; import tensorflow as tf; tf.constant(1) + 1")
    assert result.returncode == 0
    assert result.stdout + result.stderr == ""


@pytest.mark.parametrize("room", sorted(set(ALLOWED) - {"__main__"}))
def test_every_room_can_be_entered_first(room):
    assert run(f"import mmkeras.{room}").returncode == 0


def test_every_public_name_exists():
    result = run("import mmkeras as mm\nfor name in mm.__all__: assert getattr(mm, name), name")
    assert result.returncode == 0, result.stderr


def test_an_unknown_name_is_an_attribute_error():
    assert "has no attribute 'nothing'" in run("import mmkeras; mmkeras.nothing").stderr


def test_keras_loads_our_models_whichever_was_imported_first(tmp_path):
    make = (
        "import mmkeras as mm; w = mm.train_tokenizer(['a dog'], 'word');"
        f"mm.image_captioning(w, 32, size='tiny', sequence_length=4).save(r'{tmp_path}/m.keras')"
    )
    assert run(make).returncode == 0
    for imports in ("import mmkeras, keras", "import keras, mmkeras"):
        code = f"{imports}; print(type(keras.models.load_model(r'{tmp_path}/m.keras')).__name__)"
        result = run(code)
        assert result.stdout.strip() == "Task", result.stderr
