#!/usr/bin/env bash
# Runs the tests with torchtune in the virtual environment out/torchtune-env.
#
#   tools/test_torchtune.sh BUILD PYTHON
set -euo pipefail
build=$1
python=$2
environment=out/torchtune-env
test -x "$environment/bin/python" || "$python" -m venv "$environment"
# torchtune imports what torchao has had until 0.10 only.
"$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
  torch==2.13.0 torchao==0.10.0 torchtune==0.6.1 pytest pytest-timeout safetensors
tools/copy_package.sh "$build" "$python" "$environment"
"$environment/bin/python" -m pytest tests/python/test_torchtune.py
