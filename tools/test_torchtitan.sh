#!/usr/bin/env bash
# Runs tests/torchtitan: TorchTitan's own trainer with dcpcpp, on CPUs, in the virtual environment
# out/torchtitan-env.
#
#   tools/test_torchtitan.sh BUILD PYTHON
set -euo pipefail
build=$1
python=$2
environment=out/torchtitan-env
test -x "$environment/bin/python" || "$python" -m venv "$environment"
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 "datasets>=3.6,<4.8" einops pillow rich safetensors spmd_types==0.2.3 tensorboard \
  tokenizers torch_checkpointing torchdata typer tyro wandb
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps \
  torchtitan==0.3.0
tools/copy_package.sh "$build" "$python" "$environment"
"$environment/bin/python" tests/torchtitan/run.py
