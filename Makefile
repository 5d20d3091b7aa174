PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
READY = $(VENV)/.ready
# A Python with benchmarks/requirements-hf.txt, for the peer's figures.
HF ?= $(BIN)/python

.PHONY: demo test test-all check bench clean

demo: $(READY)  ## Train a captioner on the built-in world, export it, look at it (5 minutes)
	$(BIN)/python recipes/image_captioning.py --demo

test: $(READY)  ## All tests but the slow ones, in some 15 minutes
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slow" tests

test-all: $(READY)  ## All tests, in some 20 minutes: benchmarks run too, tiny, and a worker dies
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder tests

check: $(READY)  ## Format and lint
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: $(READY)  ## Speed, one JSON line each
	$(BIN)/python benchmarks/decoding.py --huggingface-python $(HF)
	$(BIN)/python benchmarks/training_step.py --huggingface-python $(HF)
	$(BIN)/python benchmarks/input.py
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/audio.py --huggingface-python $(HF)
	$(BIN)/python benchmarks/speech_training.py --huggingface-python $(HF)
	$(BIN)/python benchmarks/recognition.py
	$(BIN)/python benchmarks/streaming.py
	$(BIN)/python benchmarks/answering.py --huggingface-python $(HF)
	$(BIN)/python benchmarks/fusion.py
	$(BIN)/python benchmarks/index.py

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -c "import sys; assert (3, 11) <= sys.version_info < (3, 14), \
		f'Python 3.11 to 3.13 is needed, {sys.executable} is {sys.version.split()[0]}. Try make PYTHON=python3.11'"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
	touch $(READY)

clean:
	rm -rf $(VENV) runs
