#!/usr/bin/env bash
# Installs the Debian packages that the build and the tests need, or, without
# root, says which ones are missing and how to install them.
set -euo pipefail

packages=(
  g++ pkg-config python3-dev python3-venv
  libabsl-dev libisal-dev liburing-dev libzstd-dev nlohmann-json3-dev catch2
  libopenmpi-dev openmpi-bin tzdata
)

missing=()
for package in "${packages[@]}"; do
  status=$(dpkg-query -W -f='${Status}' "$package" 2>/dev/null || true)
  [ "$status" = "install ok installed" ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ]; then
  echo "These Debian packages are needed and not installed: ${missing[*]}" >&2
  echo "Install them with:" >&2
  echo "  sudo apt-get update && sudo apt-get install -y ${missing[*]}" >&2
  exit 1
fi
echo "Installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
