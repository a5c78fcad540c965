# One command each. Every target may be run again at any time; what is up to date is left alone.
#
#   make dev      virtual environment in .venv, with the tools and an editable build
#   make test     the suite on both backends, and the Rust tests
#   make lint     formatting, lints and types, Python and Rust
#   make check    test and lint: what must hold before a change is taken
#   make bench    the benches of one part each, on an optimized build
#   make peers    everything beside its peers (installs those), into benches/RESULTS.md; 10 minutes
#   make fuzz     fuzz the Rust parsers and tables, a minute each (needs cargo-fuzz)
#   make commands     docs/commands.md, from the parsers of the command line
#   make reference    docs/reference, from the docstrings
#   make pictures     docs/pictures, from what a terminal really shows (installs rich and pyte)
#   make wheels       source distribution, pure and native wheel, into dist/, looked through
#   make check-wheels the suite on each of them, installed into an environment of its own
#   make licences     LICENSE-THIRD-PARTY, after a change of Cargo.lock
#
# Without cargo on PATH (or with DEFERPOWER_BUILD=pure) dev and test do the pure backend alone.
# Another interpreter: make PYTHON=python3.13 ...

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CARGO := $(shell command -v cargo || true)

ifeq ($(DEFERPOWER_BUILD),pure)
  BACKEND := pure
else ifeq ($(CARGO),)
  BACKEND := pure
else
  BACKEND := native
endif

# Many tests wait for a process or a clock: three at once make use of two processors.
PARALLEL := -n 3 --dist loadscope

INSTALLED := $(VENV)/.installed-$(BACKEND)
BUILD_INPUTS := pyproject.toml Cargo.toml Cargo.lock build_backend/deferpower_build.py \
	$(shell find rust -name '*.rs')

# A plain "pip install ." into the same environment has put a copy in the place of the tree.
FRESH := $(if $(wildcard $(VENV)/lib/python3.*/site-packages/*deferpower.pth),,not-editable)

.PHONY: dev test lint check bench peers fuzz commands reference pictures
.PHONY: wheels check-wheels licences optimized cargo-present not-editable

dev: $(INSTALLED)

# The environment's own pip is renewed first: it knows --group from 25.1 on.
$(VENV)/.tools: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
		"deferpower needs Python 3.11 or later; name one with make PYTHON=...")'
	test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install --quiet --group dev
	@touch $@

# PATH: the environment's maturin must be found before any other.
$(VENV)/.installed-native: $(VENV)/.tools $(BUILD_INPUTS) $(FRESH)
	PATH="$(CURDIR)/$(BIN):$$PATH" MATURIN_PEP517_ARGS="--profile dev-release --locked" \
		$(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-pure
	@touch $@

# An extension from an earlier native build would still be found in the tree.
$(VENV)/.installed-pure: $(VENV)/.tools pyproject.toml build_backend/deferpower_build.py $(FRESH)
	@echo "no Rust build: the pure backend alone"
	rm -f python/deferpower/_native*.so
	DEFERPOWER_BUILD=pure $(BIN)/python -m pip install --quiet --no-build-isolation --editable .
	@rm -f $(VENV)/.installed-native
	@touch $@

test: $(INSTALLED)
ifeq ($(BACKEND),native)
	$(BIN)/pytest $(PARALLEL)
	cargo test --locked --features portable
else
	DEFERPOWER_TEST_BACKENDS=pure $(BIN)/pytest $(PARALLEL)
	@echo "tested: the pure backend alone; the native backend and the Rust tests need cargo"
endif

lint: cargo-present $(VENV)/.installed-native
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy build_backend tests tools
	$(BIN)/mypy benches
	$(BIN)/python -m mypy.stubtest deferpower._native
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --all-targets --features python -- -D warnings
	cargo clippy --locked --all-targets --features portable -- -D warnings

check: test lint

commands: $(INSTALLED)
	$(BIN)/python -m tools.commands

reference: $(VENV)/.tools
	PYTHONPATH=python $(BIN)/python -m tools.reference

pictures: $(INSTALLED)
	$(BIN)/python -m pip install --quiet --group pictures
	$(BIN)/python -m tools.pictures

optimized: cargo-present $(VENV)/.installed-native
	PATH="$(CURDIR)/$(BIN):$$PATH" MATURIN_PEP517_ARGS="--profile release --locked" \
		$(BIN)/python -m pip install --quiet --no-build-isolation --no-deps --editable .

bench: optimized
	$(BIN)/pytest benches/python --benchmark-only
	cargo bench --locked --features portable --bench parsers

fuzz: cargo-present
	$(PYTHON) fuzz/run.py

peers: optimized
	$(BIN)/python -m pip install --quiet --group peers
	cargo bench --locked --features portable --bench compare --no-run
	$(BIN)/python -m benches.peers --output benches/RESULTS.md

$(VENV)/.release: $(VENV)/.tools
	$(BIN)/python -m pip install --quiet --group release
	@touch $@

wheels: cargo-present $(INSTALLED) $(VENV)/.release
	$(BIN)/python -m tools.release.build --out dist
	$(BIN)/twine check --strict dist/*
	$(BIN)/auditwheel show dist/*-abi3-*.whl
	DEFERPOWER_TEST_ARTEFACTS=dist $(BIN)/pytest -q tests/artefacts/test_contents.py
	$(BIN)/python -m tools.release.report dist

# The source distribution is tried where cargo is; the pure wheel is what it becomes elsewhere.
check-wheels: wheels
	$(BIN)/python -m tools.release.check dist/*-none-any.whl
	$(BIN)/python -m tools.release.check dist/*-abi3-*.whl
	$(BIN)/python -m tools.release.check dist/*.tar.gz

licences: cargo-present
	$(PYTHON) -m tools.release.licences

cargo-present:
	@command -v cargo >/dev/null || { echo "this needs cargo: https://rustup.rs" >&2; exit 1; }
