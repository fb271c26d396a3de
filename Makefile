# `make demo` and `make test` work on a fresh system with git, make and python3 >= 3.11. Everything else they install into .venv/.
DEMO_DIR ?= build/demo
UV := .venv/bin/uv
PYTHON := .venv/bin/python
INSTALLED := .venv/installed

.PHONY: help demo test bench pins shipped pictures format lint release

help: ## say what can be made
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

demo: $(INSTALLED) ## render the template with its defaults, start the result, verify it (DEMO_DIR=build/demo)
	@$(PYTHON) scripts/demo.py "$(DEMO_DIR)"

test: $(INSTALLED) ## run every test
	@command -v git >/dev/null || sh scripts/install-debian.sh git
	@sh scripts/install-programs.sh
	$(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder -rs $(if $(ARGS),$(ARGS),--cov --cov-report=term)

bench: $(INSTALLED) ## measure what it all costs, against peers (ARGS="--only notes")
	@PYTHONPATH=.:template/src $(PYTHON) -m benchmarks $(ARGS)

release: $(INSTALLED) ## tag a release when everything agrees, after running the tests (VERSION=1.0.0)
	@$(PYTHON) scripts/release.py "$(VERSION)"

pins: $(UV) ## write tests/requirements.txt anew from pyproject.toml
	$(UV) pip compile --quiet --upgrade --universal --no-header --no-annotate --group dev -o tests/requirements.txt

shipped: $(INSTALLED) ## write the list of the files that the template keeps current anew
	$(PYTHON) scripts/shipped.py

pictures: $(INSTALLED) ## take the pictures of docs/owner.md anew
	PICTURES=1 $(PYTHON) -m pytest -q tests/browser/test_pictures.py

format: $(INSTALLED) ## format the Python code
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

lint: $(INSTALLED) ## check the Python code
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .

$(INSTALLED): tests/requirements.txt $(UV)
	@echo "Installing what the tests need into .venv ..."
	@$(UV) pip sync --quiet --python $(PYTHON) tests/requirements.txt
	@touch $@

$(UV):
	@sh scripts/install-uv.sh
