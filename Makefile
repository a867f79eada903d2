# `make` lists what one can do.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUN_STAMP := $(VENV)/.installed-run
BENCH_STAMP := $(VENV)/.installed-bench

.DEFAULT_GOAL := help
.PHONY: help install demo test test-here test-slurm test-slurm-long test-wheel release-check test-lowest test-locales test-r lint types-of-package types-of-tests format faults fuzz leaks \
	docs docs-test docs-serve report-picture page-screenshots page-references page-compare simulate storm bench bench-all bench-throughput bench-overhead bench-store bench-scale bench-halving \
	bench-journal bench-memory bench-data first-hour bench-search bench-search-trained bench-time-to-target bench-ops bench-curves bench-priors bench-enough bench-repeats bench-folds bench-fold-cost bench-bias bench-page bench-cost bench-help cluster-up cluster-down \
	clean completion schema

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 24

PIP := $(BIN)/pip --quiet --disable-pip-version-check

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit("cnn-sweep needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

# TensorFlow's build without code for GPUs takes half a gigabyte less. There is one for x86-64 only.
needs_gpu_build = $(or $(wildcard $(STAMP)),$(shell command -v nvidia-smi),$(filter-out x86_64,$(shell uname -m)))
TENSORFLOW ?= $(if $(needs_gpu_build),tensorflow,tensorflow-cpu)

# What running needs, and nothing else. Modules are compiled when they are first imported, and most never are.
# TensorFlow's C++ headers (0.3 GB) are for those who write operations.
$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "Installing TensorFlow, Optuna and what else running needs into $(VENV) (1.5 GB; a few minutes)"
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["dependencies"], sep="\n")' \
		| sed 's/^tensorflow\b/$(TENSORFLOW)/' > $(VENV)/requirements.txt
	@sed 's/^tensorflow==/$(TENSORFLOW)==/' constraints.txt > $(VENV)/constraints.txt
	$(PIP) install --no-compile --constraint $(VENV)/constraints.txt --requirement $(VENV)/requirements.txt
	$(PIP) install --no-deps --editable .
	@rm -rf $(VENV)/lib/python*/site-packages/tensorflow/include
	@touch $@

$(STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	@$(PIP) uninstall --yes tensorflow-cpu 2> /dev/null
	$(PIP) install --no-compile --constraint constraints.txt --editable '.[dev]'
	@# pip would compile on one core, and tests of packages as well. What cannot be compiled is never imported.
	@$(BIN)/python -m compileall -qq -j 0 -x '/tests/' $(VENV)/lib cnn_sweep || true
	@touch $(RUN_STAMP) $@

install: $(STAMP)  ## create .venv with the project and its exact versions

demo: $(RUN_STAMP)  ## run the default sweep on this machine and print its leaderboard
	@echo "Training every configuration of sweeps/digits.yaml; Ctrl-C stops, and the same command continues"
	$(BIN)/cnn-sweep run sweeps/digits.yaml
	@echo; echo "Next, after  . $(BIN)/activate"
	@echo "  cnn-sweep show digits 0                  one trial in detail, with its learning curves"
	@echo "  cnn-sweep report digits                  a page with figures: digits.html"
	@echo "  cnn-sweep plan sweeps/digits.yaml        what a sweep would run; copy the file and change it"

test: test-here test-slurm  ## run the tests; with --jobs=2 those on Slurm, which mostly wait, run beside the others

test-here: $(STAMP)  ## the tests that need no Slurm
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm"

test-slurm: $(STAMP)  ## the tests on a real Slurm; they are skipped where no dev cluster is up
	$(BIN)/python -m pytest -m slurm

test-slurm-long: $(STAMP)  ## those on a real Slurm that every run leaves out, because they take minutes each
	CNN_SWEEP_LONG=1 CNN_SWEEP_REQUIRE_SLURM=1 $(BIN)/python -m pytest -m "slurm and long"

test-wheel:  ## the tests, those on Slurm excepted, against the built wheel in a new environment
	PYTHON=$(PYTHON) tests/against_wheel.sh tests

release-check:  ## build and check what a release holds, and try it in a clean environment (PYTHON=python3.12)
	PYTHON=$(PYTHON) tests/against_wheel.sh commands

test-r: $(STAMP)  ## a real R: its files, the functions for R, their page (Debian: r-base-core and r-cran-ggplot2, -rsqlite)
	CNN_SWEEP_REQUIRE_R=1 $(BIN)/python -m pytest tests/r tests/training/test_rds_from_r.py

LATIN := $(VENV)/locale/de_DE.ISO-8859-1
$(LATIN):
	mkdir -p $(dir $@)
	localedef -i de_DE -f ISO-8859-1 $@

LOWEST := build/lowest
test-lowest:  ## the main tests with the lowest versions of packages that pyproject.toml allows (needs uv)
	rm -rf $(LOWEST)
	uv venv --quiet --python $(PYTHON) $(LOWEST)
	VIRTUAL_ENV=$(LOWEST) uv pip install --quiet --resolution lowest-direct --editable '.[cmaes]'
	VIRTUAL_ENV=$(LOWEST) uv pip install --quiet hypothesis pytest pytest-timeout pytest-xdist
	$(LOWEST)/bin/python -m pytest --timeout 900 tests/sweep tests/search tests/store tests/journal tests/cli/test_run.py

test-locales: $(STAMP) $(LATIN)  ## the tests without Slurm where the encoding is ASCII, then Latin-1 (Debian: locales)
	LC_ALL=C PYTHONCOERCECLOCALE=0 PYTHONUTF8=0 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm"
	LOCPATH=$(abspath $(dir $(LATIN))) LC_ALL=$(notdir $(LATIN)) PYTHONUTF8=0 \
		$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm"

lint: $(STAMP)  ## ruff, formatting, spelling, mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/codespell
	@$(MAKE) --no-print-directory --jobs=2 --output-sync types-of-package types-of-tests

types-of-package: $(STAMP)
	$(BIN)/mypy

types-of-tests: $(STAMP)
	$(BIN)/mypy --config-file tests/mypy.ini tests
	cd benchmarks && MYPYPATH=.:../tests $(abspath $(BIN))/mypy --config-file ../tests/mypy.ini *.py

coverage: $(STAMP)  ## the lines that the tests without Slurm run: a table, and htmlcov/index.html
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm" --cov=cnn_sweep --cov-report=html --cov-report=term:skip-covered

completion: $(STAMP)  ## write the table of options that the Tab key completes
	$(BIN)/python -m cnn_sweep.cli.options_table

constraints: $(BENCH_STAMP)  ## write the versions in .venv to constraints.txt
	$(BIN)/pip freeze --all --exclude pip --disable-pip-version-check --exclude-editable > constraints.txt

schema: $(STAMP)  ## write the JSON Schemas of sweep files and profiles
	$(BIN)/python -m cnn_sweep.tools.schemas

format: $(STAMP)  ## mend formatting
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

FAULTS ?= 1000
SEED ?= 1
faults: $(STAMP)  ## break studies on purpose (FAULTS=1000 SEED=1; ONLY=17 plays one round again), then its tests in their long form
	PYTHONPATH=tests $(BIN)/python -m faults.campaign --faults $(FAULTS) --seed $(SEED) $(if $(ONLY),--only $(ONLY))
	$(if $(ONLY),,CNN_SWEEP_LONG=1 CNN_SWEEP_RUNG_KILLS=10 $(BIN)/python -m pytest tests/faults)

FUZZ := 10000
fuzz: $(STAMP)  ## the long form: FUZZ=10000 odd sweep files, 3,000 journals, 1,000 of each other kind of file; SEED=1
	CNN_SWEEP_FUZZ=$(FUZZ) CNN_SWEEP_SEED=$(SEED) $(BIN)/python -m pytest --timeout 0 tests/fuzz

docs: $(STAMP)  ## build the documentation as a site, in build/site; a dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

docs-test: $(STAMP)  ## run all code blocks of the documentation, also those that take long
	CNN_SWEEP_ALL_BLOCKS=1 $(BIN)/python -m pytest tests/docs

report-picture: $(STAMP)  ## docs/report.png, the first screen of the report of sweeps/digits.yaml (two minutes)
	PYTHONPATH=tests $(BIN)/python -m report.pictures readme sweeps/digits.yaml docs/report.png

PICTURES ?= build/pictures
page-screenshots: $(STAMP)  ## reports of ten kinds of studies as pictures, into PICTURES=build/pictures; STUDIES=asha for one
	PYTHONPATH=tests $(BIN)/python -m report.pictures all $(PICTURES) $(STUDIES)

page-references: $(STAMP)  ## what a reader sees first of each page, with which the tests compare; look at PICTURES=build/pictures
	PYTHONPATH=tests $(BIN)/python -m report.references tests/report/references $(STUDIES) --pictures $(PICTURES)

page-compare: $(STAMP)  ## all pages beside their references, at three widths, light, dark and on paper; build/differences has what differs
	CNN_SWEEP_LONG=1 CNN_SWEEP_ARTIFACTS=$(abspath build/differences) $(BIN)/python -m pytest --timeout 0 tests/report/test_appearance.py

docs-serve: $(STAMP)  ## show the documentation at http://127.0.0.1:8000 while you write it
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve --no-strict --dev-addr 127.0.0.1:8000

simulate: $(STAMP)  ## the long form: 4,000 simulated studies for each claim about means and ties
	CNN_SWEEP_STUDIES=4000 $(BIN)/python -m pytest --timeout 1200 tests/report/test_repeat_statistics.py

cluster-up:  ## start a real Slurm on this host (Debian, root); see slurm/dev-cluster/README.md
	slurm/dev-cluster/up.sh

cluster-down:  ## stop it
	slurm/dev-cluster/down.sh

leaks: $(STAMP)  ## the long form: memory of one process that trains 500 trials of 16 shapes
	CNN_SWEEP_LEAK_TRIALS=500 $(BIN)/python -m pytest -s --timeout 1200 tests/training/test_leaks.py

storm: $(STAMP)  ## the long campaign on the dev cluster: 30 random events in one study
	CNN_SWEEP_STORM_EVENTS=30 CNN_SWEEP_LONG=1 CNN_SWEEP_REQUIRE_SLURM=1 $(BIN)/python -m pytest -s tests/slurm/test_storm.py

bench: bench-throughput bench-overhead bench-store bench-scale  ## what a sweep costs; tables in benchmarks/RESULTS.md (15 minutes)

bench-all: bench bench-halving bench-journal bench-memory bench-data bench-help bench-ops bench-page  ## all benchmarks but the searches

$(BENCH_STAMP): $(STAMP)
	$(PIP) install --constraint constraints.txt --editable '.[bench]'
	touch $@

bench-throughput: $(BENCH_STAMP)  ## trials per hour beside KerasTuner, an Optuna loop, one process a trial
	$(BIN)/python benchmarks/throughput.py

bench-overhead: $(STAMP)  ## what a trial costs beside its training
	$(BIN)/python benchmarks/overhead.py

bench-store: $(STAMP)  ## leaderboard, status and show on a store of 100,000 trials
	$(BIN)/python benchmarks/store.py

bench-scale: $(STAMP)  ## plan, submit, status and resume from 100 to 100,000 trials
	$(BIN)/python benchmarks/scale.py

bench-halving: $(STAMP)  ## epochs that successive halving saves, beside random search and Optuna's pruner
	PYTHONPATH=tests $(BIN)/python benchmarks/halving.py
	PYTHONPATH=tests $(BIN)/python benchmarks/halving.py --real 3

bench-journal: $(STAMP)  ## journals and merge beside Optuna's storages
	$(BIN)/python benchmarks/journal.py

bench-memory: $(STAMP)  ## memory of four workers on one data set of 1 GB
	$(BIN)/python benchmarks/memory.py

bench-data: $(STAMP)  ## preparing 25,000 JPEGs beside Keras reading them; from TensorFlow's import to training
	$(BIN)/python benchmarks/data.py

bench-repeats: $(STAMP)  ## errors and trainings of `repeat --until-decided`, in simulated studies (half an hour)
	$(BIN)/python benchmarks/sequential_repeats.py

bench-folds: $(STAMP)  ## how often intervals and ties over folds are right, in simulated studies (an hour)
	$(BIN)/python benchmarks/fold_intervals.py

bench-fold-cost: $(STAMP)  ## the time of five folds beside that of one split (ten minutes)
	$(BIN)/python benchmarks/fold_cost.py

bench-bias: $(STAMP)  ## how well selection bias is corrected, in simulated studies (ten minutes)
	$(BIN)/python benchmarks/selection_bias.py

bench-page: $(STAMP)  ## how a report of 5,000 trials opens and answers in Chromium (three minutes)
	PYTHONPATH=tests $(BIN)/python benchmarks/page.py

bench-search: $(STAMP)  ## trials that searches need, on real learning curves (half an hour)
	$(BIN)/python benchmarks/search.py

bench-curves: $(BENCH_STAMP)  ## what pruners save and miss, beside Optuna's and Syne Tune's; CURVES=FILE.npz for another table (an hour)
	$(BIN)/python benchmarks/curves.py $(if $(CURVES),--table $(CURVES))

bench-priors: $(STAMP)  ## what earlier studies and priors save and cost; CURVES=FILE.npz for another table (an hour)
	$(BIN)/python benchmarks/prior_knowledge.py $(if $(CURVES),--table $(CURVES))

bench-enough: $(STAMP)  ## when a search that no longer pays ends, and what that costs; CURVES=FILE.npz for another table
	$(BIN)/python benchmarks/enough.py $(if $(CURVES),--table $(CURVES))

bench-search-trained: $(STAMP)  ## the same with real training (an hour)
	$(BIN)/python benchmarks/search_trained.py

bench-time-to-target: $(BENCH_STAMP)  ## seconds until a good network is in hand, beside KerasTuner, Optuna and Ray Tune (hours)
	$(BIN)/python benchmarks/time_to_target.py

bench-ops: $(STAMP)  ## where a training step goes, by type of operation; other forms of max pooling (two minutes)
	$(BIN)/python benchmarks/op_table.py
	$(BIN)/python benchmarks/pooling.py

first-hour: $(STAMP)  ## play a new user from an empty clone to a finished study on the dev cluster; writes its page of docs/
	. $${TMPDIR:-/tmp}/slurm-dev-cluster/env.sh && $(BIN)/python benchmarks/first_hour.py --slurm --page docs/tutorials/first-hour.md

bench-cost: $(STAMP)  ## what `plan --probe` expects beside what sacct says, on the dev cluster (make cluster-up)
	. $${SLURM_LAB:-$${TMPDIR:-/tmp}/slurm-dev-cluster}/env.sh && $(BIN)/python benchmarks/cost_estimate.py

bench-help: $(STAMP)  ## seconds that login-node commands take
	$(BIN)/python benchmarks/startup.py

clean:  ## remove what the targets above made, results excepted
	rm -rf $(VENV) .mypy_cache .ruff_cache .hypothesis build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
