#!/bin/bash
# The case of this name in the folder CASES, with an exit code that says whether the images look right.
set -e
here=$(cd "$(dirname "$0")/.." && pwd)
cases=$(cd "${CASES:-$here/../../../shared/cases}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
PYTHONPATH=$cases "${PY:-python}" "$cases/tiff-16-bit-min-is-white/make.py"
"${PY:-python}" "$here/looks.py" "$cases" white8.tif plain.png white16.tif plain.png
