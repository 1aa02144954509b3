# Each target sets up what it needs, as setup.sh says. ARGS go to the program: make test ARGS='-k drive'
.DEFAULT_GOAL := help
BIN := .venv/bin
WITH_ENGINE := ./setup.sh with-engine

.PHONY: help demo check contract-aws coverage test test-all lint venv engine clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' Makefile | expand -t 16

demo: venv ## the main job, on a cloud that runs on this computer: no account, no cost
	@$(WITH_ENGINE) $(BIN)/python -m xportal.sandbox.demo $(ARGS)

# No test here boots a machine or needs Docker. Two processes share the tests out one by one: a few of them are long.
check: lint ## lint, types and the quick tests, in two minutes: before each commit
	@$(BIN)/python -m pytest --numprocesses 2 -m 'not machine' tests/unit tests/contract tests/docs $(ARGS)

# Only requests that AWS refuses or that describe: nothing is made and nothing billed.
contract-aws: venv ## the rules that AWS itself can be asked about: needs credentials, changes nothing
	@$(BIN)/python -m pytest --aws -m aws tests/contract $(ARGS)

# The state table is left out: it runs every line of the planner, and one after the other with coverage for minutes.
coverage: venv ## how much of the pure modules the tests of their rules run
	@$(BIN)/python -m pytest --numprocesses 2 -m 'not machine' tests/unit --ignore tests/unit/agent \
	    --ignore tests/unit/drive/test_state_table.py --cov $(ARGS)

# Three processes, for machines wait now and then, each with a file at a time, in pyproject.toml's order: those that
# boot machines come first, the short ones last.
test: venv ## the tests, most of an hour
	@$(WITH_ENGINE) $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder $(ARGS)

test-all: venv ## every test: the fastai image, the notebook, a fresh Debian
	@$(WITH_ENGINE) $(BIN)/python -m pytest --all $(ARGS)

lint: venv ## format, style, types, the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

venv: ## the virtual environment .venv, with xportal in it
	@./setup.sh python

engine: ## install and start Docker Engine, for use beyond these targets
	@./setup.sh engine

clean: ## remove what the targets made in this directory
	rm -rf .venv build *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
