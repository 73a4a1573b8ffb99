#!/usr/bin/env bash
# Writes python/dcpcpp/_core.pyi from the built extension; with --check, only compares.
# usage: tools/generate_stubs.sh BIN_DIR [--check]
set -euo pipefail
bin=$1
stub=python/dcpcpp/_core.pyi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$bin/pybind11-stubgen" dcpcpp._core -o "$out" --root-suffix "" 2>/dev/null
if [ "${2:-}" = --check ]; then
  diff -u "$stub" "$out/dcpcpp/_core.pyi"
else
  cp "$out/dcpcpp/_core.pyi" "$stub"
fi
