# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
VENV ?= .venv
RUN := $(VENV)/bin/python
PACKAGE := --editable ".[sandbox,demo]"

# What the tests of a few libraries need, where the whole group cannot be installed.
TOOLS := langsmith pytest pytest-timeout hypothesis blockbuster pyyaml jsonschema aiohttp websocket-client httpx-ws
comma := ,

# uv installs in about half of pip's time; where it cannot (an index that only pip's configuration
# names), pip does. A download that breaks off goes on where it stopped; each install is tried three times.
export PIP_RETRIES ?= 10
export PIP_RESUME_RETRIES ?= 20
export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
export UV_HTTP_TIMEOUT ?= 180
# The suite starts hundreds of processes, and each would compile every module that it imports.
unexport PYTHONDONTWRITEBYTECODE
uv = $(1)/bin/uv pip install --quiet --python $(1)/bin/python $(2) 2>$(1)/uv.log
# 25.1 is the first that reads dependency groups.
pip = $(1)/bin/python -m pip install --quiet --upgrade "pip>=25.1" && $(1)/bin/python -m pip install --quiet $(2)
install = for try in 1 2 3; do { $(call uv,$(1),$(2)) || { $(call pip,$(1),$(2)); }; } && break; [ $$try -lt 3 ] || exit 1; sleep 5; done
# What a person who waits is told.
say = @echo "$(1)"

.PHONY: demo test coverage test-frameworks test-neighbours test-lowest test-newest test-matrix soak test-collector collector-binaries test-platform platform-binaries without-containers portaudio lint actionlint format bench bench-check web web-check clean

$(VENV)/made:
	$(call say,Set-up in $(VENV): about 20 seconds and only this once)
	$(PYTHON) -m venv $(VENV)
	-$(RUN) -m pip install --quiet uv
	@touch $@

$(VENV)/ready: pyproject.toml | $(VENV)/made
	$(call say,Installing otel-realtime and what it stands on)
	@$(call install,$(VENV),$(PACKAGE))
	@touch $@

$(VENV)/ready-test: $(VENV)/ready
	$(call say,Installing what the tests need: another minute)
	@$(call install,$(VENV),$(PACKAGE) --group test)
	@touch $@

# The linters are a hundred MB more, and only one interpreter needs them.
$(VENV)/ready-dev: $(VENV)/ready-test
	@$(call install,$(VENV),--group dev)
	@touch $@

demo: $(VENV)/ready
	$(VENV)/bin/otel-realtime demo $(ARGS)

# The suite waits most of its time: for servers, timers and processes that it starts.
WORKERS ?= 3

test: $(VENV)/ready-test
	$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile $(ARGS)

# The whole suite once more, with the branches of each module that it reaches.
coverage: $(VENV)/ready-test
	$(RUN) -m pytest --numprocesses $(WORKERS) --dist loadfile --cov --cov-report=term $(ARGS)

# Frameworks that run tools themselves, with their real packages: several hundred MB.
FRAMEWORKS := .venv-frameworks

$(FRAMEWORKS)/ready-frameworks: pyproject.toml
	$(MAKE) VENV=$(FRAMEWORKS) $(FRAMEWORKS)/ready
	@$(call install,$(FRAMEWORKS),$(PACKAGE) --group frameworks)
	touch $@

test-frameworks: $(FRAMEWORKS)/ready-frameworks
	$(FRAMEWORKS)/bin/python -m pytest tests/tap/test_agents.py tests/tap/test_pydantic_ai.py tests/tap/test_pipecat.py tests/tap/test_livekit.py tests/e2e/test_langgraph.py $(ARGS)

# Other instrumentations beside this one, each with its real packages in an environment of its own.
test-neighbours: $(VENV)/ready-test
	$(RUN) -m tests.neighbours $(ARGS)

# The oldest versions that the bounds admit: with Python 3.10, because they have no later wheels.
LOWEST := .venv-lowest
# What sees a connection, what is traced of it, and what writes and delivers it.
LOWEST_TESTS := tests/tap/test_legacy.py tests/tap/test_websocket_client.py tests/tap/test_httpx_ws.py \
	tests/tap/test_aiohttp.py tests/e2e/test_transports.py tests/langsmith/test_exporter.py \
	tests/recording/test_resample.py

$(LOWEST)/ready-lowest: pyproject.toml tests/lowest.py
	$(PYTHON) -m venv $(LOWEST)
	-$(LOWEST)/bin/python -m pip install --quiet uv
	$(LOWEST)/bin/python -m tests.lowest > $(LOWEST)/constraints.txt
	@$(call install,$(LOWEST),--editable ".[sandbox$(comma)demo$(comma)audio-formats$(comma)fast$(comma)langsmith]" --constraint $(LOWEST)/constraints.txt $(TOOLS))
	touch $@

test-lowest: $(LOWEST)/ready-lowest
	$(LOWEST)/bin/python -m pytest $(LOWEST_TESTS) $(ARGS)
	$(LOWEST)/bin/otel-realtime demo --fast --no-browser

# The newest `websockets`, which what else the tests need does not admit beside itself.
NEWEST := .venv-newest

$(NEWEST)/ready-newest: pyproject.toml
	$(PYTHON) -m venv $(NEWEST)
	-$(NEWEST)/bin/python -m pip install --quiet uv
	@$(call install,$(NEWEST),$(PACKAGE) "websockets>=16" $(TOOLS))
	touch $@

test-newest: $(NEWEST)/ready-newest
	$(NEWEST)/bin/python -m pytest tests/tap/test_websockets.py tests/tap/test_legacy.py tests/e2e/test_transports.py $(ARGS)

# Every client with its real package: environments below .matrix, for every interpreter that is found.
# ARGS names single ones; `--save` stores the results, `--readme` makes the README's table of them.
test-matrix: $(VENV)/ready-test
	$(RUN) -m tests.matrix $(ARGS)

soak: $(VENV)/ready-test
	$(RUN) -m pytest -m soak $(ARGS)

collector-binaries: $(VENV)/ready-test
	$(RUN) -m tests.e2e.binaries

# The tests of `talk` play and record on ALSA devices of their own. They need no sound card, but the
# library, which is in the system's packages only.
find_portaudio = $(PYTHON) -c 'import ctypes.util, sys; sys.exit(not ctypes.util.find_library("portaudio"))'
as_root = $(shell [ "$$(id -u)" = 0 ] || echo sudo -n)

portaudio:
	@$(find_portaudio) || { $(as_root) apt-get -o Acquire::Retries=3 update -qq && $(as_root) apt-get -o Acquire::Retries=3 install -y -qq libportaudio2; } || \
		{ echo "PortAudio is missing, and apt-get cannot install it here. Install it as root: libportaudio2 (Debian, Ubuntu), portaudio (Fedora, Arch, Homebrew)" >&2; exit 1; }

test-collector: $(VENV)/ready-test
	$(RUN) -m pytest -m collector $(ARGS)

# What stands around the Collector in a platform: Prometheus, Kafka, other backends.
platform-binaries: $(VENV)/ready-test
	$(RUN) -m tests.platform.binaries

test-platform: $(VENV)/ready-test
	$(RUN) -m pytest tests/platform -m platform $(ARGS)

# What `docker compose --profile demo up` does, without containers.
without-containers: $(VENV)/ready-test
	$(RUN) -m tests.platform.without_containers --profile demo $(ARGS)

lint: $(VENV)/ready-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy tests/typing/api.py
	$(VENV)/bin/pyright --pythonpath $(RUN)

actionlint: $(VENV)/ready-test
	$(RUN) -m tests.e2e.binaries actionlint
	$(RUN) -m pytest tests/test_workflows.py $(ARGS)

format: $(VENV)/ready-dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

# The page of sandbox, view and report: TypeScript in, three files out. What is built is committed.
WEB := otel_realtime/sandbox/web

$(WEB)/node_modules/ready: $(WEB)/package.json $(WEB)/package-lock.json
	npm ci --prefix $(WEB) --no-audit --no-fund
	@touch $@

web: $(WEB)/node_modules/ready
	npm run build --prefix $(WEB)

web-check: web
	@git diff --exit-code --stat -- otel_realtime/sandbox/static && [ -z "$$(git status --porcelain -- otel_realtime/sandbox/static)" ] \
		|| { echo "otel_realtime/sandbox/static is not what its sources give: run make web and commit it"; exit 1; }

$(VENV)/ready-bench: $(VENV)/ready-test
	@$(call install,$(VENV),--group bench)
	@touch $@

# All parts take about twelve minutes on an idle machine and draw the plots; ARGS names single ones.
bench: $(VENV)/ready-bench
	$(RUN) -m tests.benchmarks $(ARGS)

# Half a minute: is anything dearer than the stored baseline says? ARGS=--accept stores a new one.
bench-check: $(VENV)/ready-test
	$(RUN) -m tests.benchmarks.check $(ARGS)

clean:
	rm -rf $(VENV) .matrix .demo .sandbox build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
