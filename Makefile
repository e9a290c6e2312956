# Needs python3 (3.11 or newer) and make; everything else goes into .venv from the hash-pinned files in requirements/.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Model engines print start-up notes on stderr; thread pools are set per process by the program itself.
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup setup-test demo test test-slow lint bench bench-quick chaos clean soak fuzz clusters hosts objects
help:
	@echo "make demo       set up, then embed a small synthetic archive and ask it questions"
	@echo "make test       set up, then lint, type-check and run the tests"
	@echo "make setup      only set up: .venv/bin/sonotheque is there afterwards"
	@echo "make test-slow  all suites, the long ones too, with property tests on new examples"
	@echo "make bench      measure speed here, ten minutes at most; results go to benchmarks/results/suite.json"
	@echo "make bench-quick  the same in a minute, to see that it works"
	@echo "make chaos  kill, freeze and crash real runs, SEEDS=200 of them; results go to benchmarks/results/chaos.json"
	@echo "make soak       ten thousand parts through a real Dask cluster: memory, descriptors, temporary files"
	@echo "make fuzz       eighty thousand files with damaged headers, in processes with limits: docs/reliability.md"
	@echo "make clusters   runs on an sshd and a SLURM of one node that are started for it (openssh-server, slurm-wlm, munge)"
	@echo "make hosts      four workers on two hosts in network namespaces, one of them cut off and brought back (root, iproute2)"
	@echo "make objects    sound and store in buckets on this machine, connections cut in the middle"
	@echo "make lint       ruff, mypy, import-linter"

setup: $(VENV)/.set-up
setup-test: $(VENV)/.set-up-test

$(VENV)/.set-up: requirements/birdnet.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed, this is " + sys.version)'
	@echo "Setting up $(VENV) (about 1.3 GB, a minute or a few) ..."
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	@$(PIP) install --require-hashes -r requirements/birdnet.txt
	@$(PIP) install --no-deps --no-build-isolation --config-settings editable_mode=compat --editable .
	@touch $@

$(VENV)/.set-up-test: $(VENV)/.set-up requirements/all.txt
	@echo "Adding what the tests need (TensorFlow among it) ..."
	@$(PIP) install --require-hashes -r requirements/all.txt
	@touch $@

demo: setup
	@$(BIN)/sonotheque demo

lint: setup-test
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

test: lint
	@$(BIN)/python -m pytest -m "not slow" -n auto --dist loadfile

test-slow: setup-test
	@SONOTHEQUE_HYPOTHESIS=explore $(BIN)/python -m pytest -m "slow or not slow"

SEEDS ?= 200
chaos: setup-test
	@$(BIN)/python -m tests.chaos --seeds $(SEEDS)

fuzz: setup-test
	@$(BIN)/python -m tests.audio.fuzzing docs/reliability.md

$(VENV)/.set-up-bench: $(VENV)/.set-up requirements/engines.txt
	@$(PIP) install --require-hashes -r requirements/engines.txt
	@touch $@

bench: $(VENV)/.set-up-bench
	@$(BIN)/sonotheque bench

bench-quick: $(VENV)/.set-up-bench
	@$(BIN)/sonotheque bench --quick

soak: setup-test
	@$(BIN)/sonotheque bench soak

clusters: setup-test
	@$(BIN)/python -m pytest tests/clusters_real -m slow -v

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis build *.egg-info

# A log takes the place of the one before when the run that wrote it is through, and passed.
hosts: setup-test
	@rm -f $(VENV)/hosts.log
	@HOSTS_LOG=$(VENV)/hosts.log $(BIN)/python -m pytest -q -rs -m slow tests/hosts
	@test -s $(VENV)/hosts.log || { echo "nothing was run: all tests were skipped; docs/clusters/hosts.log is as it was" >&2; exit 1; }
	@mv $(VENV)/hosts.log docs/clusters/hosts.log && cat docs/clusters/hosts.log

objects: setup-test
	@rm -f $(VENV)/objects.log
	@OBJECTS_LOG=$(VENV)/objects.log $(BIN)/python -m pytest -q -rs -m slow tests/objects
	@test -s $(VENV)/objects.log || { echo "nothing was run: all tests were skipped; docs/objects.log is as it was" >&2; exit 1; }
	@mv $(VENV)/objects.log docs/objects.log && cat docs/objects.log
