# Wayline. `make help` lists what can be made; each target's line says what for.
SHELL := /bin/bash
# Bytecode is cached whatever the surroundings say: loading the libraries takes twice as long without.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out
DEMO_CUSTOMERS ?= 150
STREAM_DEMO_OUT ?= stream-demo-out
STREAM_DEMO_SECONDS ?= 120
BENCH_EVENTS ?= 100000,1000000
ACCURACY_CUSTOMERS ?= 100000
STREAM_RATES ?= 500,1000,2000
TEST_PROCESSES ?= 2
EXPLORE ?= tests
EXPLORE_TIMES ?= 20
EXPLORE_SEED := $(shell date +%s)
FUZZED := tests/contracts/test_documents_hostile.py tests/pipelines/test_hostile_configuration.py \
  tests/sources/test_importer_bounds.py tests/sources/test_mapping_hostile.py tests/transforms/input/test_hostile_avro.py
FLINK := build/flink
FLINK_JAVA := infra/flink/java/org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers.java
# a compiler that runs wherever Java does: a machine that runs Flink need not have Java's own
JAVA_COMPILER := org.eclipse.jdt:ecj:3.37.0
GOOGLESQL := build/googlesql
PUBSUB_SERVER := $(BIN)/wayline-pubsub-server

.PHONY: help demo stream-demo services service-packages service-flink service-pubsub flink pubsub-server googlesql test lint \
  types unit explore fuzz schemas parity chaos interrupted accuracy stage-accuracy ecom-story lock clean bench \
  bench-pipeline bench-identity bench-stream bench-actor bench-stages

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(not ((3, 11) <= sys.version_info[:2] <= (3, 13)))' \
	  || { echo "Wayline needs Python 3.11, 3.12 or 3.13; call: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 3; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r locks/installer.txt

$(VENV)/.runtime: $(BIN)/python locks/runtime.txt pyproject.toml
	@echo "installing from locks/runtime.txt (about a minute the first time)"
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r locks/runtime.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.runtime locks/dev.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r locks/dev.txt
	@touch $@

demo: $(VENV)/.runtime ## Install, then run the main job on a simulated world and show what came out
	$(BIN)/wayline demo --out $(DEMO_OUT) --customers $(DEMO_CUSTOMERS)

stream-demo: $(VENV)/.runtime $(FLINK)/.ready $(PUBSUB_SERVER) ## The main job live, on embedded Flink: two minutes of a simulated world
	$(BIN)/wayline stream-demo --out $(STREAM_DEMO_OUT) --seconds $(STREAM_DEMO_SECONDS)

flink: $(FLINK)/.ready ## The embedded Flink job server's class path, by Maven, into build/flink (150 MB)

$(FLINK)/.ready: infra/flink/pom.xml $(FLINK_JAVA) | $(BIN)/python
	@command -v mvn >/dev/null && command -v java >/dev/null || { \
	  echo "make flink needs Java 17 and Maven (Debian and Ubuntu: apt-get install openjdk-17-jre-headless maven;"; \
	  echo "macOS: brew install openjdk@17 maven)"; exit 3; }
	@rm -rf $(FLINK) && mkdir -p $(FLINK)
	@echo "getting the Flink job server by Maven (half a minute the first time)"
	@mvn --batch-mode --quiet --file infra/flink/pom.xml dependency:copy-dependencies -DincludeScope=runtime \
	  -DoutputDirectory="$(CURDIR)/$(FLINK)/lib"
	@mvn --batch-mode --quiet --file infra/flink/pom.xml dependency:copy -Dartifact=$(JAVA_COMPILER) \
	  -DoutputDirectory="$(CURDIR)/$(FLINK)/compiler"
	@java -jar $(FLINK)/compiler/*.jar --release 11 -nowarn -d $(FLINK)/classes \
	  -classpath "$$(printf '%s:' $(FLINK)/lib/*.jar)" $(FLINK_JAVA)
	@cd $(FLINK)/classes && "$(CURDIR)/$(BIN)/python" -m zipfile -c ../lib/wayline-flink.jar org
	@touch $@

pubsub-server: $(PUBSUB_SERVER) ## Google's own in-memory Pub/Sub server, for trials and tests: built by Go into .venv

$(PUBSUB_SERVER): infra/pubsub-server/main.go infra/pubsub-server/go.mod infra/pubsub-server/go.sum | $(BIN)/python
	@command -v go >/dev/null || { \
	  echo "make pubsub-server needs Go 1.24 or newer (Debian and Ubuntu: apt-get install golang-go; macOS: brew install go)"; \
	  exit 3; }
	@echo "building the Pub/Sub server (a minute the first time)"
	@go build -C infra/pubsub-server -trimpath -mod=readonly -o "$(CURDIR)/$@" .

googlesql: $(GOOGLESQL)/zetasql.cwasm ## GoogleSQL's analyser and reference engine, for tests: into build/googlesql (135 MB)

$(GOOGLESQL)/zetasql.cwasm: infra/googlesql/requirements.txt | $(VENV)/.runtime
	@rm -rf $(GOOGLESQL) && mkdir -p $(GOOGLESQL)
	@echo "getting and compiling GoogleSQL (half a minute)"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --target $(GOOGLESQL) --no-deps --require-hashes \
	  -r infra/googlesql/requirements.txt
	@$(BIN)/python tests/services/googlesql.py

# name, the command that finds it, Debian's package: what to say of it, and its package into $$wanted where it is missing
define system_package
if { $(2); } >/dev/null 2>&1; then \
  echo "$(1) is here; tests that need it can run"; \
elif [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
  echo "installing $(1)"; wanted="$$wanted $(3)"; \
else \
  echo "no $(1) on this machine: install its package (Debian and Ubuntu: sudo apt-get install $(3)),"; \
  echo "or go on: tests that need it are skipped"; \
fi
endef

# each of these mostly waits for a network of its own: with --jobs=4 they do so together
services: service-packages service-flink service-pubsub googlesql ## What some tests run against: PostgreSQL, Redis, Chromium, Flink, a Pub/Sub server, GoogleSQL

service-packages:
	@wanted=; \
	$(call system_package,PostgreSQL,ls /usr/lib/postgresql/*/bin/initdb || command -v initdb,postgresql); \
	$(call system_package,Redis,command -v redis-server,redis-server); \
	$(call system_package,Chromium,command -v chromium,chromium); \
	[ -z "$$wanted" ] || { apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --quiet=2 --yes \
	  --no-install-recommends $$wanted; }

# the environment is made before, once: a make within a make does not know that another one is at it
service-flink: | $(BIN)/python
	@if command -v mvn >/dev/null && command -v java >/dev/null; then $(MAKE) --no-print-directory flink; \
	else echo "no Java or no Maven on this machine: tests that need Flink are skipped"; fi

service-pubsub: | $(BIN)/python
	@if command -v go >/dev/null; then $(MAKE) --no-print-directory pubsub-server; \
	else echo "no Go on this machine: tests that need a Pub/Sub server are skipped"; fi

test: lint types schemas unit ## Install what it needs, then lint, types, schema check and all tests

lint: $(VENV)/.dev ## Style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev ## Types, strict
	$(BIN)/mypy

schemas: $(VENV)/.dev ## Avro schemas against their predecessors
	$(BIN)/wayline schema check

unit: $(VENV)/.dev ## Tests only
	$(BIN)/pytest -n $(TEST_PROCESSES) --dist worksteal --durations=40

explore: $(VENV)/.dev ## Property tests below EXPLORE with EXPLORE_TIMES as many examples, at random: hours, in one process
	@echo "to see the same again: make explore EXPLORE='$(EXPLORE)' EXPLORE_TIMES=$(EXPLORE_TIMES) EXPLORE_SEED=$(EXPLORE_SEED)"
	WAYLINE_EXAMPLES=$(EXPLORE_TIMES) nice -n 15 $(BIN)/pytest -m hypothesis --hypothesis-seed=$(EXPLORE_SEED) \
	  --timeout=7200 --durations=20 $(EXPLORE)

bench: $(VENV)/.runtime ## Every part at BENCH_EVENTS sizes: bench-out/bench.json and docs/performance.md; ten minutes
	$(BIN)/python -m benchmarks.suite --sizes $(BENCH_EVENTS) --json bench-out/bench.json --write docs/performance.md

bench-pipeline: $(VENV)/.runtime ## Events a second, memory, cost per event and per stage, at BENCH_EVENTS sizes
	$(BIN)/python -m benchmarks.pipeline --events $(BENCH_EVENTS) --json bench-out/pipeline.json --write docs/performance.md

bench-identity: $(VENV)/.runtime ## Links a second of resolution and of the identity store, by the size of the graph
	$(BIN)/python -m benchmarks.resolution
	$(BIN)/python -m benchmarks.identity_scale
	$(BIN)/python -m benchmarks.identity_store

bench-actor: $(VENV)/.runtime $(FLINK)/.ready ## Events a second and CPU of the streaming host on embedded Flink
	$(BIN)/python -m benchmarks.actor

bench-stream: $(VENV)/.runtime $(FLINK)/.ready ## Latency and CPU of the whole stream at STREAM_RATES events a second
	$(BIN)/python -m benchmarks.stream --rates $(STREAM_RATES)

bench-stages: $(VENV)/.runtime ## What an event costs the stages that remember: in order, late, by persons seen
	$(BIN)/python -m benchmarks.strand_core
	$(BIN)/python -m benchmarks.persons

chaos: $(VENV)/.runtime $(FLINK)/.ready ## A stream killed in every way, compared with the undisturbed run: ten minutes
	$(BIN)/python -m benchmarks.chaos --cluster --postgres

interrupted: $(VENV)/.runtime ## A bounded run interrupted 20 times at random moments, then let end: five minutes
	$(BIN)/python -m benchmarks.interrupted

fuzz: ## Random and hostile input of every kind, EXPLORE_TIMES as much as the tests try: minutes
	@$(MAKE) --no-print-directory explore EXPLORE="$(FUZZED)"

parity: $(VENV)/.runtime $(FLINK)/.ready ## Whether every way to the tables gives the same ones, on many worlds: half an hour
	$(BIN)/python -m benchmarks.parity

accuracy: $(VENV)/.runtime ## How right identity is on ACCURACY_CUSTOMERS simulated people; renews docs/accuracy.md
	$(BIN)/python -m benchmarks.accuracy --customers $(ACCURACY_CUSTOMERS) --write docs/accuracy.md

stage-accuracy: $(VENV)/.runtime ## How right stages are on a simulated world; renews docs/stage_accuracy.md: ten minutes
	$(BIN)/python -m benchmarks.stage_accuracy --write docs/stage_accuracy.md

ecom-story: $(VENV)/.runtime ## A real shop's half year, told from its tables; renews docs/ecom.md
	$(BIN)/python -m benchmarks.ecom_story --write docs/ecom.md

lock: $(BIN)/python ## Renew the lock files from pyproject.toml
	$(BIN)/uv pip compile pyproject.toml --group build --universal --python-version 3.11 --generate-hashes --upgrade \
	  --no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet --output-file locks/runtime.txt
	$(BIN)/uv pip compile pyproject.toml --group build --group dev --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-annotate --custom-compile-command "make lock" --quiet --constraint locks/runtime.txt \
	  --output-file locks/dev.txt

clean: ## Remove the environment, the job server, and what demo, bench and accuracy wrote
	rm -rf $(VENV) $(DEMO_OUT) $(STREAM_DEMO_OUT) bench-out accuracy-out stage-accuracy-out ecom-out parity-out $(FLINK)
