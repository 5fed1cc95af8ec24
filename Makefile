# Everything works from a fresh clone with Python 3.11 and make; the venv is made on first use.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo test test-slow lint bench synth fuzz clean

help:
	@echo "make demo   compile the sample, flash it to the virtual board, profile it"
	@echo "make test   run the tests, ten minutes on two cores; make test-slow runs the rest of their cases"
	@echo "make lint   ruff, mypy, import contracts"
	@echo "make fuzz   fuzz every parser (SECONDS=60 each; ENTRIES to choose; needs atheris)"
	@echo "make bench  measure (SHARED=folder of models and data)"
	@echo "make synth  the accelerator on FPGAs: cells and clock (half an hour; SEEDS=1,2,3 to try more)"

$(READY): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -e ".[dev]"
	touch $@

demo: $(READY)
	$(BIN)/python -m samples.digits.demo

# Two workers already take both cores: threads of numpy and PyTorch would only wait for each other.
# Each begins with a half of the tests, so that what one builds is in the cache when the other
# comes there: side by side both would build it.
PYTEST := OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: $(READY)
	$(PYTEST)

# The same code with further parameters, on further cores, with more draws.
test-slow: $(READY)
	$(PYTEST) -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

SECONDS ?= 60
fuzz: $(READY)
	$(BIN)/python -c 'import atheris' 2>/dev/null || $(BIN)/pip install --quiet -e ".[fuzz]"
	PYTHONPATH=.:tests $(BIN)/python -m fuzz.run --seconds $(SECONDS) $(ENTRIES)

bench: $(READY)
	$(BIN)/python -m benchmarks.cortex_m --models $(SHARED)/models --update docs/BENCHMARKS.md
	$(BIN)/python -m benchmarks.cortex_a --models $(SHARED)/models --update docs/BENCHMARKS.md
	for b in accuracy compile_time profiling accelerator; do \
	    $(BIN)/python -m benchmarks.$$b --shared $(SHARED) --update docs/BENCHMARKS.md || exit 1; \
	done
	$(BIN)/python -m benchmarks.quantization --shared $(SHARED) --update docs/QUANTIZATION.md
	$(BIN)/python -m benchmarks.pruning --shared $(SHARED) --update docs/PRUNING.md

# Synthesis, placement and routing: nothing of it is in any test.
SEEDS ?= 1
synth: $(READY)
	$(BIN)/python -m benchmarks.synthesis --seeds $(SEEDS) --update docs/BENCHMARKS.md

clean:
	rm -rf $(VENV) build out
