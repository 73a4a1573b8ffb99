#!/usr/bin/env bash
# Runs every linter; fails if one complains. usage: tools/lint.sh BUILD_DIR BIN_DIR
set -euo pipefail
build=$1
bin=$2
failed=0
step() {
  echo "== $1"
  shift
  "$@" || failed=1
}

mapfile -t cpp < <(git ls-files '*.h' '*.cc')
mapfile -t sources < <(git ls-files 'src/*.cc' 'bindings/*.cc' 'benchmarks/*.cc' 'examples/*.cc')
mapfile -t built < <("$bin/python" - "$build/compile_commands.json" "${sources[@]}" <<'EOF'
import json, pathlib, sys
known = {pathlib.Path(c["file"]).resolve() for c in json.load(open(sys.argv[1]))}
for source in sys.argv[2:]:
    if pathlib.Path(source).resolve() in known:
        print(source)
EOF
)
step clang-format "$bin/clang-format" --dry-run --Werror "${cpp[@]}"
step clang-tidy bash -c 'printf "%s\n" "$@" | xargs -P "$(nproc)" -n 4 '"$bin/clang-tidy"' -p '"$build"' --quiet \
  --extra-arg=-Wno-unknown-warning-option --extra-arg=-Wno-deprecated-declarations 2>/dev/null' _ "${built[@]}"
step ruff "$bin/ruff" check python tests examples benchmarks tools
step "ruff format" "$bin/ruff" format --check python tests examples benchmarks tools
step stubs tools/generate_stubs.sh "$bin" --check
step mypy "$bin/mypy"
step codespell "$bin/codespell" --skip '*.json,*.distcp,.metadata' --ignore-words-list kno,ontext,failin,allright,cachable -- $(git ls-files '*.md' '*.py' '*.h' '*.cc' '*.txt' Makefile)
exit $failed
