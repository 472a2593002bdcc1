# Every target makes or updates its own .venv first; nothing has to be set up by hand. ARGS="..." is passed on.
MAKEFLAGS += --no-print-directory
PYTHON_IN_VENV := .venv/bin/python
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help build test check docs dist proto run-server run-client run-bench benchmark benchmark-scale check-speed h2spec interop hostile soak fuzz test-vsock demo-vsock \
	test-pythons clean venv-run venv-bench venv-dev

help: ## List the targets
	@echo 'make TARGET [ARGS="..."] [PYTHON=/path/to/python]'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-18s%s\n", $$1, $$2}'

build: venv-run ## Build the wheel into dist/
	@rm -rf build  # what setuptools left there would be shipped, even modules that are gone
	@$(PYTHON_IN_VENV) -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist $(ARGS) .

# Files of tests are shared out among the cores; ARGS="-n 0" or "-p no:xdist" runs all in one process.
test: venv-dev ## Run the tests (ARGS="tests/http2 -x")
	@$(PYTHON_IN_VENV) -m pytest $(if $(findstring no:xdist,$(ARGS)),,-n auto --dist loadfile --no-loadscope-reorder) $(ARGS)

check: venv-dev ## Run the linters and the type checker, and try the documents, their links and the examples
	@$(PYTHON_IN_VENV) -m ruff check
	@$(PYTHON_IN_VENV) -m ruff format --check
	@$(PYTHON_IN_VENV) -m mypy
	@$(PYTHON_IN_VENV) -m pytest tests/test_docs.py tests/test_readme.py tests/test_examples.py tests/test_deploy.py

docs: venv-dev ## Build the documents' site into .cache/site
	@NO_MKDOCS_2_WARNING=1 $(PYTHON_IN_VENV) -m mkdocs build --strict --quiet $(ARGS)
	@echo "file://$(CURDIR)/.cache/site/index.html"

dist: venv-dev ## Build the source distribution and the wheel into dist/, and look at both
	@rm -rf build dist
	@$(PYTHON_IN_VENV) -m build --quiet --outdir dist $(ARGS) . && $(PYTHON_IN_VENV) -m twine check --strict dist/*

proto: venv-dev ## Generate messages, bases and stubs from the .proto files
	@for tree in 'proto proto' 'wire/standard/protos wire/standard/generated'; do set -- $$tree; \
		$(PYTHON_IN_VENV) -m wire.generate --quiet -I $$1 --out $$2 $$(find $$1 -name '*.proto' | sort) || exit 1; done

run-server: venv-run ## Serve Echo and Crypto on 127.0.0.1:50051 (ARGS="--help" for all flags)
	@exec $(PYTHON_IN_VENV) -m bin.server $(ARGS)

run-client: venv-run ## Echo and sign against that server, or run one command (ARGS="echo hello")
ifeq ($(strip $(ARGS)),)
	$(PYTHON_IN_VENV) -m bin.client echo 'Hello, wire!'
	$(PYTHON_IN_VENV) -m bin.client sign --key rsa --algorithm rsa-pss-sha256 --verify 'Hello, wire!'
	$(PYTHON_IN_VENV) -m bin.client sign --key p256 --algorithm ecdsa-p256-sha256-asn1 --verify 'Hello, wire!'
	$(PYTHON_IN_VENV) -m bin.client sign --key ed25519 --algorithm ed25519 --verify 'Hello, wire!'
else
	@$(PYTHON_IN_VENV) -m bin.client $(ARGS)
endif

run-bench: venv-bench ## Load a server and print latencies, throughput and CPU time (ARGS="--help" for all flags)
	@exec $(PYTHON_IN_VENV) -m bin.bench $(ARGS)

benchmark: venv-dev ## Compare with tonic (Rust), grpc-go, nghttpd (C), grpcio and grpclib, as far as they can be had
	@$(PYTHON_IN_VENV) -m benchmarks $(ARGS)

benchmark-scale: venv-dev ## Draw what a call costs against connections, streams, sizes, methods, metadata and workers
	@$(PYTHON_IN_VENV) -m benchmarks.scale --svg docs/scale.svg $(ARGS)

check-speed: venv-dev ## Count the hot paths' instructions; fail when one has grown by more than 3 % (needs valgrind)
	@$(PYTHON_IN_VENV) -m benchmarks.stack --check $(ARGS)

h2spec: venv-dev ## Run h2spec's server cases against both engines (needs Go)
	@$(PYTHON_IN_VENV) -m tests.conformance.run_h2spec $(ARGS)

interop: venv-dev ## Run grpc-go, grpcio, grpc-js, connectconformance, ghz, nginx and Envoy against wire, where they can be had
	@$(PYTHON_IN_VENV) -m tests.interop.run $(ARGS)

hostile: venv-dev ## Play hostile peers against the server, 10 s a row (ARGS="--loop uvloop replies")
	@$(PYTHON_IN_VENV) -m tests.hostile $(ARGS)

soak: venv-dev ## Make two million calls that end in every way, and show that nothing rises (ARGS="--calls 100000")
	@$(PYTHON_IN_VENV) -m tests.soak $(ARGS)

fuzz: venv-dev ## Fuzz the tuned engine and the codec, guided by coverage
	@$(PYTHON_IN_VENV) -c 'import atheris' 2>/dev/null || $(PYTHON_IN_VENV) -m pip install --quiet atheris
	@$(PYTHON_IN_VENV) -m tests.fuzz $(ARGS)

test-vsock: venv-dev ## Test AF_VSOCK inside virtual machines (needs QEMU)
	@$(PYTHON_IN_VENV) -m tests.vsock.run $(ARGS)

demo-vsock: venv-dev ## Show a signing server in a virtual machine, called from its host
	@$(PYTHON_IN_VENV) -m tests.vsock.demo $(ARGS)

test-pythons: ## Run the tests on newer interpreters and PyPy
	@.ci/test-pythons $(ARGS)

clean: ## Remove .venv, caches and what was built
	rm -rf .venv .cache build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

venv-run:
	@PYTHON='$(PYTHON)' .ci/venv run

venv-bench:
	@PYTHON='$(PYTHON)' .ci/venv bench

venv-dev:
	@PYTHON='$(PYTHON)' .ci/venv dev
