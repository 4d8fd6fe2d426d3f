# quickstart: from images to clusters, figures and a SavedModel.
# test: every promise of the suite.   test-all: also in all combinations.
# search: nearest images by the quickstart's SavedModel.
# bench: benchmarks.   Each sets up .venv by itself.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
PYTEST := $(PY) -m pytest -q -n 3 --dist=loadfile \
	--no-loadscope-reorder
RUN := runs/quickstart
EXPORT := exports/quickstart
RECIPE := configs/quickstart.flags
SEARCH := runs/search

.PHONY: quickstart test test-all test-slow bench lint search
.DELETE_ON_ERROR:

quickstart: $(RUN)/table.txt $(RUN)/saved_model.txt
	@sed '/^Written: /d; /^Next, /d' $(RUN)/table.txt
	@echo "Run folder: $(RUN)"
	@echo "SavedModel: $$(tail -n 1 $(RUN)/saved_model.txt)"

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

# Digits that are nearest to digits which the model has never seen.
search: $(RUN)/saved_model.txt
	@rm -rf $(SEARCH)
	$(PY) -m export.retrieval.build_index --saved_model=$(EXPORT) \
		--images='digits:?split=train' --output=$(SEARCH)
	$(PY) -m export.retrieval.search --index=$(SEARCH) --top=8 \
		--query='digits:?split=test' --max_queries=20 \
		--html=$(SEARCH)/page.html > $(SEARCH)/found.txt
	@tail -n 1 $(SEARCH)/found.txt
	$(PY) -m export.retrieval.evaluate --saved_model=$(EXPORT) \
		--images='digits:?split=test'

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

$(VENV)/.tfclust-test: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[test]"
	@touch $(VENV)/.tfclust $@

$(PY):
	$(PYTHON) -m venv $(VENV)
