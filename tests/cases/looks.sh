#!/bin/bash
# looks.sh NAME ODD PLAIN [ODD PLAIN ...]: makes the images of the case NAME in the folder CASES, and compares each pair.
set -e
here=$(cd "$(dirname "$0")" && pwd)
cases=$(cd "${CASES:-$here/../../../shared/cases}" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
PYTHONPATH=$cases "${PY:-python}" "$cases/$1/make.py"
"${PY:-python}" "$here/looks.py" "$cases" "${@:2}"
