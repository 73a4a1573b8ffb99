#!/usr/bin/env bash
# Copies the package, with what BUILD has built of it, into the virtual environment ENVIRONMENT,
# in the place of an earlier copy.
#
#   tools/copy_package.sh BUILD PYTHON ENVIRONMENT
set -euo pipefail
build=$1
python=$2
environment=$3
site=$("$environment/bin/python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
rm -rf "$site/dcpcpp"
cp -r python/dcpcpp "$site/dcpcpp"
for component in python library; do
  "$(dirname "$python")/cmake" --install "$build" --prefix "$site/dcpcpp" --component "$component" >/dev/null
done
