#!/usr/bin/env bash
# Copies a newly built extension and library over the one of the editable install.
set -euo pipefail
build=$1
python=$2
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
for component in python library; do
  cmake --install "$build" --prefix "$site/dcpcpp" --component "$component" >/dev/null
done
