# Each target makes what it needs first: on a bare Debian 12, as root, `make demo` is enough.

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.complete
READY := $(VENV)/.compiled
PERF := pipeline churn accounting usagefeed fragments watching runtime waking bindings leases wire
METHODS := throughput latency loss
RESULTS := perf-results
COVERAGE_MIN := 85
# Many tests wait for other processes most of their time: one more than there are CPUs. Two more save
# half a minute, and starve peers with a time limit of their own.
JOBS := $(shell echo $$(($$(nproc) + 1)))
# Byte code that was not kept would be made at every start of a program, and tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test lint style types collected perf venv clean

help:
	@echo "make demo    an IPv6-only host leases an IPv4 address and uses it, in namespaces"
	@echo "make test    style, types, layers, all tests with coverage; what CI runs"
	@echo "make lint    style, types and layers only"
	@echo "make perf    measure into $(RESULTS)/, and print what was reached: $(PERF)"
	@echo "make venv    install what the others need (they do it themselves)"
	@echo "make clean   remove what make made"

venv: $(READY)

$(INSTALLED): pyproject.toml tools/setup.sh
	tools/setup.sh uncompiled

$(READY): $(INSTALLED)
	$(BIN)/dstm-router compile
	touch $@

demo: $(READY)
	$(BIN)/python -m lab.demo

lint: style types

style: $(INSTALLED)
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

# Reading all tests makes byte code of them; that is done once, while the types are checked.
collected: $(INSTALLED)
	$(BIN)/pytest --collect-only --quiet --quiet >/dev/null || true  # tests will say what is wrong

# The library behind numpy's products starts a thread for each CPU, in every program: 50 ms of CPU.
test: export OPENBLAS_NUM_THREADS := 1
test: $(INSTALLED)
	$(MAKE) --no-print-directory --jobs=3 lint collected $(READY)
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest --numprocesses=$(JOBS) --dist=loadfile --no-loadscope-reorder --durations=10
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --skip-covered --fail-under=$(COVERAGE_MIN)

perf: $(READY)
	for script in $(PERF); do $(BIN)/python -m perf $$script --out $(RESULTS)/$$script.json || exit 1; done
	for way in encap decap; do for method in $(METHODS); do \
	  $(BIN)/python -m perf rfc8219 $$method --direction $$way --runs 5 --out $(RESULTS)/$$method-$$way.json \
	    $$(test $$method != latency || echo --load 50 --loss 1 --realtime) || exit 1; \
	done; done
	$(BIN)/python -m perf pipeline --scaling --out $(RESULTS)/scaling.json
	$(BIN)/python -m perf plot $(RESULTS)/*.json --to $(RESULTS)
	$(BIN)/python -m perf aims $(PERF:%=$(RESULTS)/%.json) $(RESULTS)/latency-encap.json $(RESULTS)/latency-decap.json

clean:
	rm -rf $(VENV) $(RESULTS) build dist *.egg-info .coverage .coverage.* .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
