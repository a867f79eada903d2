#!/usr/bin/env bash
# Builds the source archive and the wheel as a release would, and tries the wheel where the checkout is not.
#
#   tests/against_wheel.sh build DIST      build both from the tracked files, and check them; $PYTHON has the tools
#   tests/against_wheel.sh commands        install the wheel into a new environment, and work with it in an empty home
#   tests/against_wheel.sh tests [ARG...]  the same with all tests but those on Slurm; ARG... go to pytest
#
# $PYTHON is the interpreter (default: python3).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
constraints=$PWD/constraints.txt

say() { echo "== $* (${SECONDS} s)"; }

# The tracked files alone: what lies in the checkout beside them must not get into a release.
copy_checkout() {
    mkdir "$1"
    git ls-files -z | tar --null --files-from - --create | tar --extract --directory "$1"
}

# The wheel is built from the source archive, so the archive is complete.
build() {
    mkdir -p "$1"
    local dist
    dist=$(realpath "$1")
    copy_checkout "$dist/sources"
    "$python" -m build --no-isolation --outdir "$dist" "$dist/sources" >"$dist/build.log" 2>&1 ||
        { cat "$dist/build.log" >&2; return 1; }
    rm -r "$dist/sources" "$dist/build.log"
    "$python" -m twine check --strict "$dist"/*
    "$python" -m check_wheel_contents "$dist"/*.whl
}

# Installs packages into a new environment, with uv where there is one, because it is much faster than pip. Either
# works in the caller's home, where its settings and its cache are.
environment() {
    "$python" -m venv "$1"
    local pip=("$1/bin/python" -m pip --quiet --disable-pip-version-check)
    if command -v uv >/dev/null; then
        pip=(uv --quiet pip)
    fi
    VIRTUAL_ENV=$1 "${pip[@]}" install --constraint "$constraints" "${@:2}"
}

install_wheel() {  # into $work/env, with the given extras
    say "building with $("$python" --version)"
    environment "$work/tools" build check-wheel-contents setuptools twine
    PYTHON="$work/tools/bin/python" tests/against_wheel.sh build "$work/dist"
    say "installing the wheel"
    environment "$work/env" "$(echo "$work"/dist/*.whl)$1"
    say "installed: $(du --summarize --human-readable "$work/env" | cut --fields=1)"
}

# A first session: every command runs in an empty folder and an empty home, and knows nothing of the checkout.
commands() {
    install_wheel ""
    mkdir "$work/home" "$work/empty"
    cd "$work/empty"
    local run=(env -i "PATH=$work/env/bin:/usr/bin:/bin" "HOME=$work/home" LC_ALL=C.UTF-8)
    "${run[@]}" cnn-sweep --version
    "${run[@]}" cnn-sweep init --example digits
    "${run[@]}" cnn-sweep r >functions.R
    sed --in-place 's/epochs: 10/epochs: 1/; s/{method: grid}/{method: random, trials: 4}/' digits.yaml
    for words in "plan digits.yaml" "run digits.yaml" "leaderboard digits" "report digits --output digits.html" \
        "init --example cats_dogs_names" "plan cats_dogs_names.yaml"; do
        say "cnn-sweep $words"
        # shellcheck disable=SC2086 # words are separate arguments
        "${run[@]}" cnn-sweep $words
    done
    test -s digits.html
    say "the wheel works with $("$work/env/bin/python" --version)"
}

tests() {
    install_wheel "[dev]"
    copy_checkout "$work/checkout"
    rm -rf "$work/checkout/cnn_sweep"
    cd "$work/checkout"
    "$work/env/bin/python" -c 'import cnn_sweep; print("tests run against", cnn_sweep.__file__)'
    PATH="$work/env/bin:$PATH" "$work/env/bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not slurm" "$@"
}

case ${1:-} in
    build) build "${2:?where to put the archives}" ;;
    commands | tests)
        work=$(mktemp -d)
        chmod 755 "$work"  # some tests run the program as other users
        trap 'rm -rf "$work"' EXIT
        "$@"
        ;;
    *)
        sed -n 's/^#   //p' "$0" >&2
        exit 2
        ;;
esac
