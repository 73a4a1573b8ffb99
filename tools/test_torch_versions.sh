#!/usr/bin/env bash
# Runs tests/python/test_any_torch.py with other versions of torch than the one that dcpcpp is
# built beside: one build serves any. Each version gets a virtual environment, out/torch-<version>.
#
#   tools/test_torch_versions.sh BUILD PYTHON VERSION...
set -euo pipefail
build=$1
python=$2
shift 2
failed=()
for version in "$@"; do
  environment=out/torch-$version
  test -x "$environment/bin/python" || "$python" -m venv "$environment"
  "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
    "torch==$version" "numpy<2.4" hypothesis pytest pytest-timeout rich typer
  tools/copy_package.sh "$build" "$python" "$environment"
  echo "torch $version:"
  "$environment/bin/python" -m pytest -q --rootdir . tests/python/test_any_torch.py || failed+=("$version")
done
if [ ${#failed[@]} -gt 0 ]; then
  echo "failed with torch ${failed[*]}"
  exit 1
fi
