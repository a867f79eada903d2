#!/usr/bin/env bash
# Runs the tests, those on Slurm excepted, against the built wheel: in a new environment, and in a folder where the
# package's sources are not. Arguments go to pytest.
set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

mkdir "$work/checkout" "$work/dist"
git ls-files -z | tar --null --files-from - --create | tar --extract --directory "$work/checkout"
"${PYTHON:-python3}" -m venv "$work/env"
pip=("$work/env/bin/pip" --quiet --disable-pip-version-check)
"${pip[@]}" wheel --no-deps --wheel-dir "$work/dist" "$work/checkout"
"${pip[@]}" install --constraint constraints.txt "$(echo "$work"/dist/*.whl)[dev]"
rm -rf "$work/checkout/cnn_sweep" "$work/checkout/build"

cd "$work/checkout"
"$work/env/bin/python" -c 'import cnn_sweep; print("tests run against", cnn_sweep.__file__)'
PATH="$work/env/bin:$PATH" "$work/env/bin/python" -m pytest -n 2 --dist loadfile -m "not slurm" "$@"
