# quickstart: from images to clusters, figures and a SavedModel; of one's own
#   images with DATA=/my/images, for MINUTES, in runs/NAME and exports/NAME.
# test: every promise of the suite.   test-all: also in all combinations.
# serve: the quickstart's SavedModel behind a server, and a client's answers.
# serve-triton, serve-kserve: the same behind a server that is none of ours.
# search: an index of its images.   detect: a detector on its backbone.
# bench: benchmarks.   Each sets up .venv by itself.

PYTHON ?= python3
VENV ?= .venv
PY := $(VENV)/bin/python
SERVERS ?= .venv-servers
PYTEST := $(PY) -m pytest -q -n 3 --dist=loadfile \
	--no-loadscope-reorder
NAME ?= mine
MINUTES ?= 30
RUN := runs/quickstart
EXPORT := exports/quickstart
RECIPE := configs/quickstart.flags
SEARCH := runs/search
DIGITS := runs/digits_voc
DETECT := runs/detect

.PHONY: quickstart serve serve-triton serve-kserve search detect test test-all \
	test-slow bench lint
.DELETE_ON_ERROR:

ifdef DATA
# By the environment, since a path may hold what a shell would split or end at.
export DATA
quickstart: | $(VENV)/.tfclust
	$(PY) -m tfclust.train --data="$$DATA" --workdir=runs/$(NAME) \
		--minutes=$(MINUTES)
	$(PY) -m tfclust.evaluate --workdir=runs/$(NAME)
	$(PY) -m tfclust.export --workdir=runs/$(NAME) --output=exports/$(NAME)
	$(PY) -m tfclust.cluster --workdir=runs/$(NAME) \
		--gallery=runs/$(NAME)/clusters.html
	@echo "Page: runs/$(NAME)/report.html"
	@echo "Clusters: runs/$(NAME)/clusters.csv"
else
quickstart: $(RUN)/table.txt $(RUN)/saved_model.txt
	@sed '/^Written: /d; /^Next, /d' $(RUN)/table.txt
	@echo "Run folder: $(RUN)"
	@echo "Page: $(RUN)/report.html"
	@echo "SavedModel: $$(tail -n 1 $(RUN)/saved_model.txt)"
endif

serve: $(RUN)/saved_model.txt $(VENV)/.tfclust-serving
	$(PY) -m export.serving.demonstration --models=$(EXPORT) \
		--images='digits:?split=test' --output=$(EXPORT)_features.parquet

# The same behind Triton and behind KServe, whose answers are compared with the
# model's own. Triton needs NumPy 1, and so both an environment of their own.
serve-triton serve-kserve: serve-%: $(RUN)/saved_model.txt \
		$(SERVERS)/.tfclust-servers
	$(SERVERS)/bin/python -m export.serving.$*_server --models=$(EXPORT) \
		--check_images='digits:?split=test'

test: $(VENV)/.tfclust-test
	$(PYTEST) -m "not slow"

test-all: $(VENV)/.tfclust-test
	$(PYTEST)

# What test-all has and test has not.
test-slow: $(VENV)/.tfclust-test
	$(PYTEST) -m slow

bench: $(VENV)/.tfclust-test
	$(PY) -m tests.benchmarks

# Handwritten digits scattered over pictures, with the quickstart's backbone.
# It was made for 24 px and has strides 4 and 8 alone: levels 2 to 4, for digits
# of 18 to 34 px. `small` at 96 px has no more; photos want a ResNet.
# A new export has a detector of its own; a run that was stopped goes on.
detect: $(DETECT)/found.html
	@echo "Page: $<"

$(DETECT)/found.html: $(RUN)/saved_model.txt | $(VENV)/.tfclust-detection
	@test -d $(DIGITS) || $(PY) -m export.detection.example_data \
		--output=$(DIGITS)
	$(PY) -m export.detection.train_detector \
		--saved_model=$$(tail -n 1 $<) \
		--data='voc:$(DIGITS)?split=train' \
		--eval_data='voc:$(DIGITS)?split=test' \
		--workdir=$(DETECT)/$$(basename $$(tail -n 1 $<)) \
		--image_size=96 --levels=2,4 --head_convolutions=1 \
		--batch_size=8 --steps=200 --warmup_steps=20 \
		--learning_rate=0.02 --flip_probability=0 --save_every=50
	$(PY) -m export.detection.detect \
		--detector=$(DETECT)/$$(basename $$(tail -n 1 $<))/saved_model \
		--images=$(DIGITS)/JPEGImages --max_images=40 \
		--min_score=0.5 --output=$@

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

# Each with the extra of its name.
$(VENV)/.tfclust-%: setup.cfg pyproject.toml | $(PY)
	$(PY) -m pip install --quiet --editable ".[$*]"
	@touch $(VENV)/.tfclust $@

$(SERVERS)/.tfclust-servers: setup.cfg pyproject.toml
	$(PYTHON) -m venv $(SERVERS)
	$(SERVERS)/bin/python -m pip install --quiet --editable ".[triton,kserve]"
	@touch $@

$(PY):
	$(PYTHON) -m venv $(VENV)
