# The whole command surface of the project. Everything runs from the environment that `setup` makes.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

PYTHON3 ?= python3
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/visgate
UV_VENV := $(CACHE)/uv
UV := $(or $(shell command -v uv 2>/dev/null),$(UV_VENV)/bin/uv)
# `pulumi` finds the programs of the environment and the toolchain first.
ENTER = export PATH="$(CURDIR)/.venv/bin:$$($(PYTHON3) tools/toolchain.py path):$$PATH"
MARKED := not gpu and not live and not image and not long
# What the worker's image is built without where only the building is tested.
DRAWING := accelerate av diffusers ftfy huggingface-hub peft pillow protobuf runpod safetensors sentencepiece torch torchao \
	torchvision transformers
IMAGE_TOOLS := buildah debootstrap docker-registry busybox-static

.PHONY: help
help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 20

.PHONY: setup
setup: .venv/.ready ## the Python environment, the Pulumi engine and the S3 server
	@$(PYTHON3) tools/toolchain.py ensure

.venv/.ready: uv.lock pyproject.toml worker/pyproject.toml | $(UV)
	@echo "visgate: installing the Python environment"
	$(UV) sync --frozen --all-packages --extra local --compile-bytecode
	# Beside the environment, not in it: there, an engine would fetch the plugin of AWS for every stack.
	$(UV) export --quiet --frozen --only-group pulumi-aws --prune pulumi --no-emit-workspace -o .venv/pulumi-aws.txt
	$(UV) pip install --quiet --require-hashes --no-deps --python .venv --target .venv/pulumi-aws -r .venv/pulumi-aws.txt
	# Bytecode of what is used of it alone: all of it would take a minute.
	PYTHONPATH=.venv/pulumi-aws PYTHONDONTWRITEBYTECODE= .venv/bin/python -W ignore -c "import pulumi_visgate.components._aws.upkeep"
	touch $@

# Where uv is missing, pip brings it, into a folder of its own that all checkouts share.
$(UV_VENV)/bin/uv:
	@echo "visgate: installing uv"
	$(PYTHON3) -m venv --without-pip $(UV_VENV)
	$(PYTHON3) -m pip --python $(UV_VENV)/bin/python install --quiet --disable-pip-version-check uv

.PHONY: up
up: setup ## the main job: a cloud on this machine, the stack, two pictures
	@.venv/bin/visgate quickstart

.PHONY: down
down: ## undo `up`: stack, cloud and processes
	@test -x .venv/bin/visgate || { echo "visgate: nothing was set up here."; exit 0; }
	.venv/bin/visgate teardown

.PHONY: fmt
fmt: setup ## format the code, and mend what can be mended
	@.venv/bin/ruff format
	.venv/bin/ruff check --fix

.PHONY: check
check: setup ## format, lint, types, import layers
	@.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/pyright
	.venv/bin/pyright --project tools/pyright-aws.json
	.venv/bin/lint-imports

.PHONY: test
test: setup ## every tier: unit, contract, engine, e2e, chaos, canary
	@$(PYTHON3) tools/toolchain.py ensure yaml
	$(ENTER)
	.venv/bin/pytest -m "$(MARKED)" -n 2 --dist loadgroup

.PHONY: test-long
test-long: setup ## the long tests that `make test` leaves out: more moments, seeds and runtimes of what it tries
	@$(PYTHON3) tools/toolchain.py ensure yaml
	$(ENTER)
	.venv/bin/pytest -m "long and not gpu and not live and not image" -n 2 --dist loadgroup

.PHONY: image-tools
image-tools: ## what images are built with in tests: Debian's or Ubuntu's packages, as root
	@apt-get update -qq
	apt-get install -qq --yes --no-install-recommends $(IMAGE_TOOLS)

.PHONY: test-image
test-image: setup ## both images built for real, and their programs started from them; as root, with image-tools
	@$(ENTER)
	VISGATE_TEST_IMAGES=1 .venv/bin/pytest tests/image tests/engine/aws/test_gateway_image.py

.PHONY: test-engine
test-engine: setup ## the tier with the real Pulumi engine
	@$(PYTHON3) tools/toolchain.py ensure yaml
	$(ENTER)
	.venv/bin/pytest -m engine

.PHONY: e2e
e2e: setup ## the tiers with the whole local stack
	@$(ENTER)
	.venv/bin/pytest -m "e2e or chaos or canary"

.PHONY: chaos
chaos: setup ## 200 random sequences of runs, kills and faults; SEED=… for one, SEQUENCES=… for others
	@$(ENTER)
	.venv/bin/pytest tests/chaos -n 2 --dist load $(if $(SEED),--seed $(SEED),--first $(or $(FIRST),1) --sequences $(or $(SEQUENCES),200))

.PHONY: bench
bench: setup ## the benchmarks; writes bench/results.json
	@$(ENTER)
	.venv/bin/python -m bench

.PHONY: bench-gpu
bench-gpu: setup ## runtimes against the eager pipeline, where there is a GPU; writes bench/results_gpu.json
	@.venv/bin/python -m bench.gpu_bench

.PHONY: schema
schema: setup ## write components/schema.json, from which other languages generate their SDKs
	@.venv/bin/python components schema

.PHONY: pipelines
pipelines: setup ## write what the pipelines of the installed diffusers take; after another diffusers
	@.venv/bin/python -m tools.pipelines

.PHONY: local-model
local-model: setup ## train the local stack's model, which draws shapes in colours: some 20 minutes on two cores
	@.venv/bin/python -m tools.local_models.train stacks/models/visgate/tiny-sd

.PHONY: lock
lock: setup ## write the pinned requirements of both images from uv.lock
	@export="$(UV) export --quiet --frozen --no-dev --no-emit-workspace --no-header --no-annotate"
	$$export --extra gateway --prune pulumi --prune docker --prune grpcio --prune typer --prune rich \
		-o pulumi_visgate/gateway/image/requirements.lock
	$$export --package visgate-worker --extra gpu -o worker/requirements.lock
	$$export --package visgate-worker --extra gpu $(addprefix --prune ,$(DRAWING)) -o worker/requirements-base.lock
	$$export --package visgate-worker --only-group sbom -o worker/requirements-sbom.lock

.PHONY: docs
docs: setup ## write the reference pages that come from the code
	@.venv/bin/typer pulumi_visgate.cli.app utils docs --name visgate --title "The visgate command" --output docs/reference/cli.md
	.venv/bin/python -m tools.reference
