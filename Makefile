# Two commands do everything: `make demo` and `make test`. Needs Python >= 3.11 with pip, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# what lessons and tests need beyond the package itself, which is enough for the demonstration
EXTRAS := lab,analysis,test,generate,simulate,scale,engines
# marks of what is installed, and where they lie while pip is at work
FIRST := $(VENV)/.first
READY := $(VENV)/.ready
DOCS := $(VENV)/.docs
HELD := $(VENV)/.held

.DEFAULT_GOAL := help
.PHONY: help setup demo lab test test-fast test-lowest test-newest test-py313 lint notebooks \
	save-notebooks docs release bench data clean

help:  ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 18

# The package with extras, $(1), by pip with options, $(2), on top of what is there. No mark stands
# while pip is at work, so what is interrupted starts over with an empty environment; where pip
# itself gives up, as it does without the network, all stays as it was.
define install
	@trap 'exit 130' HUP INT TERM; mkdir -p $(HELD); mv -f $(FIRST) $(READY) $(DOCS) $(HELD) 2>/dev/null; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(2) -e '.$(1)'; \
	status=$$?; test $$status -gt 128 || mv -f $(HELD)/.??* $(VENV) 2>/dev/null; exit $$status
endef

# An environment with the second mark alone is from before there were two. Byte code of everything is
# more than half of pip's work: the demonstration needs little of it, the rest comes with the second.
$(FIRST): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3"; exit 1; }
	@test -e $(FIRST) || test -e $(READY) \
		|| { echo "Making $(VENV) (a minute, once) ..."; $(PYTHON) -m venv --clear $(VENV); }
	$(call install,,--no-compile)
	@touch $@

$(READY): $(FIRST)
	@test -e $(READY) || echo "Installing what lessons and tests need (some minutes, once) ..."
	$(call install,[$(EXTRAS)])
	@$(BIN)/python -m compileall -q $(VENV)/lib > /dev/null || true  # templates do not compile
	@$(BIN)/so3krates-lite data fetch so3lr > $(VENV)/so3lr.txt \
		|| echo "Without SO3LR: what needs it says so, all else works."
	@touch $@

setup: $(READY)  ## make .venv with the pinned packages, and fetch the published SO3LR

demo: $(FIRST)  ## trained model, errors, attention in 3D, a minute of training: demo/report.html
	@$(BIN)/so3krates-lite demo

lab: $(READY)  ## open JupyterLab on the lessons
	$(BIN)/jupyter lab --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/notebooks

test: lint test-fast notebooks  ## the whole suite and the notebooks

test-fast: $(READY)  ## the suite without the notebooks
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not browser" tests

# The suite in another environment, made anew with uv: $(1) its name, $(2) which versions.
define suite_in
	$(PYTHON) -m venv --clear build/$(1)
	build/$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/$(1)/bin/uv pip install --quiet --python build/$(1) $(2) -e '.[$(EXTRAS)]'
	build/$(1)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not browser" tests
endef

test-lowest:  ## the same with the lowest versions that pyproject.toml allows, in build/
	$(call suite_in,lowest,--resolution lowest-direct)

test-newest:  ## the same with the newest versions, in build/
	$(call suite_in,newest,--upgrade)

test-py313: PYTHON = python3.13
test-py313:  ## the same with the pinned versions on Python 3.13, in build/ (or PYTHON=...)
	$(call suite_in,py313,-c constraints.txt)

notebooks: $(READY)  ## run the notebooks and compare their outputs; explorer and report in a browser
	$(BIN)/python -m pytest -m browser tests/explorer/test_browser.py
	$(BIN)/python -m pytest --nbval --nbval-sanitize-with tests/nbval_sanitize.cfg notebooks

save-notebooks: $(READY)  ## run the notebooks and save them with their outputs
	$(BIN)/python tests/save_notebooks.py notebooks/*.ipynb

lint: $(READY)  ## style of code and notebooks, types of the public face
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

# Sphinx comes with its own mark, so that `make setup` does not grow
$(DOCS): $(READY)
	$(call install,[docs])
	@touch $@

docs: $(DOCS)  ## the site in build/site: warnings are errors, links and alternatives are checked
	@rm -rf build/site build/doctrees
	JAX_PLATFORMS=cpu $(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet \
		-c docs -d build/doctrees . build/site
	$(BIN)/python docs/parts/check.py build/site

release:  ## wheel and sdist in dist/, each installed and run outside the clone
	$(PYTHON) tests/release.py

bench: $(READY)  ## speed beside other implementations: benchmarks/RESULTS.md (an hour or more)
	$(BIN)/python -m benchmarks.run $(ARGS)

data: $(READY)  ## make the bundled data anew in build/ (about a quarter of an hour)
	@mkdir -p build
	cd build && ../$(BIN)/so3krates-lite data generate ethanol-gfn2
	cd build && ../$(BIN)/so3krates-lite data generate carbon-chains-gfn2
	cd build && ../$(BIN)/so3krates-lite data generate cumulenes-gfn2

clean:  ## remove .venv, demo/ and build/
	rm -rf $(VENV) demo build
