# Two commands from a fresh clone: `make demo` and `make test`. Both set up what they need first.

VENV := .venv
BIN := $(VENV)/bin
# What `make demo` needs, and with what the tests need beside.
DEMO := $(VENV)/.demo
SET_UP := $(VENV)/.set-up
# Of pytest, each with a Kafka of its own: 3 GB of memory at most. Tests wait a fifth of their time, so that two cores
# take three.
PROCESSES := 3
# Of each of the two runs of `make soak`.
MINUTES := 25

# The demo and the tests start many processes: none is to compile what another has compiled.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help set-up set-up-demo demo test test-all test-tools lint soak clean reference constraints image-locks \
	kafka-checksums

help:
	@echo "make demo     set up, then run the whole of freshet once on a synthetic newspaper"
	@echo "make test     set up, then lint, types, imports and all tests but the nightly ones"
	@echo "make test-all  the nightly ones too: minutes of waiting for what shorter tests look at piece by piece"
	@echo "make lint     set up, then lint, types and imports only"
	@echo "make soak     twice $(MINUTES) minutes of steady traffic: does everything stay flat? (MINUTES=5 for less)"
	@echo "make set-up-demo  the virtual environment ($(VENV)) with what freshet needs to run, and Kafka's jars"
	@echo "make set-up   that, and what developing and testing need"
	@echo "make reference  write docs/reference, docs/contracts and all else that is generated, again"
	@echo "make clean    remove the virtual environment and the tools' caches; .freshet, with your data, stays"
	@echo "For maintainers: make constraints, make image-locks, make kafka-checksums"
	@echo "Needs Python 3.11 to 3.14 (make PYTHON=... names one; else uv fetches one) and 8 GB of disk."

set-up: $(SET_UP)
set-up-demo: $(DEMO)

$(DEMO): pyproject.toml setup.py $(wildcard models/kernels/compiled/*.pxd models/kernels/compiled/*.pyx) deploy/constraints.txt \
	deploy/set-up.sh workers/processes/kafka/jars.sha256
	@PYTHON='$(PYTHON)' sh deploy/set-up.sh $(VENV) demo

$(SET_UP): $(DEMO)
	@sh deploy/set-up.sh $(VENV) all

demo: $(DEMO)
	@$(BIN)/freshet demo $(ARGS)

# $(call step,NAME,COMMAND): runs it, says how long it took, stops make where it fails.
define step
@start=$$(date +%s); echo "== $(1)"; \
if $(2); then echo "== $(1): ok, $$(($$(date +%s) - start)) s"; \
else echo "== $(1): FAILED after $$(($$(date +%s) - start)) s"; exit 1; fi
endef

lint: $(SET_UP)
	$(call step,ruff check,$(BIN)/ruff check --quiet .)
	$(call step,ruff format,$(BIN)/ruff format --quiet --check .)
	$(call step,mypy,$(BIN)/mypy)
	$(call step,lint-imports,$(BIN)/lint-imports)

test-tools:
	@sh deploy/test-tools.sh

test: CHOSEN := -m 'not nightly'
test test-all: lint test-tools
	$(call step,pytest,$(BIN)/pytest -q -n $(PROCESSES) --dist loadfile --no-loadscope-reorder $(CHOSEN) $(ARGS))

# Twice: as it is, and with everything shortened that runs into its limit within the hour.
soak: $(SET_UP)
	@$(BIN)/freshet soak --minutes $(MINUTES) $(ARGS)
	@$(BIN)/freshet soak --minutes $(MINUTES) --short-intervals $(ARGS)

reference: $(SET_UP)
	@$(BIN)/python -m tests.documents.reference
	@sh deploy/kubernetes/prometheus-rule.sh
	@$(BIN)/python -m tests.documents.contracts
	@$(BIN)/python -m deploy.dashboards

clean:
	rm -rf $(VENV) build dist freshet.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find models streams workers tests -name __pycache__ -type d -prune -exec rm -rf {} +

constraints:
	@{ sed -n '/^#/p' deploy/constraints.txt; \
	$(BIN)/python -m pip freeze --all --exclude-editable | grep -E '^[A-Za-z0-9_.-]+==' \
	| grep -viE '^(nvidia-[^m]|cuda-|triton==|pip==|wheel==)'; } > deploy/constraints.new
	@mv deploy/constraints.new deploy/constraints.txt

image-locks: $(SET_UP)
	@sh deploy/images/lock.sh

# Maven's own repository layout is what the list consists of.
kafka-checksums:
	@rm -rf build/kafka-jars
	mvn --batch-mode --quiet --file workers/processes/kafka/pom.xml dependency:copy-dependencies \
	-DincludeScope=runtime -Dmdep.useRepositoryLayout=true -DoutputDirectory=$(CURDIR)/build/kafka-jars
	@cd build/kafka-jars && find . -name '*.jar' | sed 's,^\./,,' | LC_ALL=C sort | xargs sha256sum \
	> $(CURDIR)/workers/processes/kafka/jars.sha256
