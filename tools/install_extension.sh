#!/usr/bin/env bash
# Copies a newly built extension and library over the one of the editable install. Each file
# is renamed into its place: processes that run now keep the one that they have mapped.
set -euo pipefail
build=$1
python=$2
site=$("$python" -c 'import sysconfig; print(sysconfig.get_path("platlib"))')
staged=$(mktemp --directory "$site/dcpcpp/.install-XXXXXX")
trap 'rm -rf "$staged"' EXIT
for component in python library; do
  cmake --install "$build" --prefix "$staged" --component "$component" >/dev/null
done
find "$staged" ! -type d -printf '%P\0' | while IFS= read -r -d '' file; do
  mkdir -p "$(dirname "$site/dcpcpp/$file")"
  mv -fT "$staged/$file" "$site/dcpcpp/$file"
done
