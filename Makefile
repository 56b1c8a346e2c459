# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python

.PHONY: demo test coverage test-frameworks soak test-collector collector-binaries lint actionlint format bench clean

# pip 25.1 is the first that reads dependency groups.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(RUN) -m pip install --quiet --editable ".[sandbox,demo]"
	touch $@

$(VENV)/ready-dev: $(VENV)/ready
	$(RUN) -m pip install --quiet --editable ".[sandbox,demo]" --group dev
	touch $@

demo: $(VENV)/ready
	$(VENV)/bin/otel-realtime demo $(ARGS)

test: $(VENV)/ready-dev
	$(RUN) -m pytest $(ARGS)

# The whole suite once more, with the branches of each module that it reaches.
coverage: $(VENV)/ready-dev
	$(RUN) -m pytest --cov --cov-report=term $(ARGS)

# Frameworks that run tools themselves, with their real packages: several hundred MB.
FRAMEWORKS := .venv-frameworks

$(FRAMEWORKS)/ready-frameworks: pyproject.toml
	$(MAKE) VENV=$(FRAMEWORKS) $(FRAMEWORKS)/ready
	$(FRAMEWORKS)/bin/python -m pip install --quiet --editable ".[sandbox,demo]" --group frameworks
	touch $@

test-frameworks: $(FRAMEWORKS)/ready-frameworks
	$(FRAMEWORKS)/bin/python -m pytest tests/tap/test_agents.py tests/tap/test_pydantic_ai.py tests/tap/test_pipecat.py tests/tap/test_livekit.py $(ARGS)

soak: $(VENV)/ready-dev
	$(RUN) -m pytest -m soak $(ARGS)

collector-binaries: $(VENV)/ready-dev
	$(RUN) -m tests.e2e.binaries

test-collector: $(VENV)/ready-dev
	$(RUN) -m pytest -m collector $(ARGS)

lint: $(VENV)/ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy tests/typing/api.py
	$(VENV)/bin/pyright --pythonpath $(RUN)

actionlint: $(VENV)/ready-dev
	$(RUN) -m tests.e2e.binaries actionlint
	$(RUN) -m pytest tests/test_workflows.py $(ARGS)

format: $(VENV)/ready-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(VENV)/ready-dev
	$(RUN) -m tests.benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .demo .sandbox build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
