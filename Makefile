# quickstart: from images to clusters, figures and a SavedModel.
# test: every promise of the suite.   test-all: also in all combinations.
# serve: the quickstart's SavedModel behind a server, and a client's answers.
# bench: benchmarks.   Each sets up .venv by itself.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest -q -n 3 --dist=loadfile \
	--no-loadscope-reorder
RUN := runs/quickstart
EXPORT := exports/quickstart
RECIPE := configs/quickstart.flags

.PHONY: quickstart serve test test-all test-slow bench lint
.DELETE_ON_ERROR:

quickstart: $(RUN)/table.txt $(RUN)/saved_model.txt
	@sed '/^Written: /d; /^Next, /d' $(RUN)/table.txt
	@echo "Run folder: $(RUN)"
	@echo "SavedModel: $$(tail -n 1 $(RUN)/saved_model.txt)"

serve: $(RUN)/saved_model.txt $(VENV)/.tfclust-serving
	$(PY) -m export.serving.demonstration --models=$(EXPORT) \
		--images='digits:?split=test' --output=$(EXPORT)_features.parquet

test: $(VENV)/.tfclust-test
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.tfclust-test
	$(PYTEST)

# What test-all has and test has not.
test-slow: $(VENV)/.tfclust-test
	$(PYTEST) -m slow

bench: $(VENV)/.tfclust-test
	$(PY) -m tests.benchmarks

lint: $(VENV)/.tfclust-test
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# A run that is finished already trains no further, so that a change of the
# recipe's comments alone costs one evaluation.
$(RUN)/table.txt: $(RECIPE) | $(VENV)/.tfclust
	$(PY) -m tfclust.train --flagfile=$(RECIPE) --workdir=$(RUN) \
		--eval_data='digits:?split=test'
	$(PY) -m tfclust.evaluate --workdir=$(RUN) > $@

$(RUN)/saved_model.txt: $(RUN)/table.txt
	$(PY) -m tfclust.export --workdir=$(RUN) --output=$(EXPORT) > $@

$(VENV)/.tfclust: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.tfclust-serving: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[serving]"
	@touch $(VENV)/.tfclust $@

$(VENV)/.tfclust-test: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[test]"
	@touch $(VENV)/.tfclust $@

$(PY):
	$(PYTHON) -m venv $(VENV)
