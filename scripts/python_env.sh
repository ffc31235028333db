#!/usr/bin/env bash
# Makes the pinned Python environment of the test scripts.
#
#   scripts/python_env.sh           .venv at the root of the repository
#   scripts/python_env.sh --bench   .cache/venv-bench: the same and the benchmark peers (torch, some GB)
#   scripts/python_env.sh --quantus .cache/venv-quantus: the same and Quantus
#   scripts/python_env.sh --trees   .cache/venv-trees: LightGBM, XGBoost, shap and what converts their models
#
# Prints the path of the environment's python. Does nothing when the environment
# was made from the same requirements by the same Python.
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
files=(scripts/requirements.txt)
if [[ "${1:-}" == --bench ]]; then
    venv="${DLBC_CACHE:-.cache}/venv-bench"
    files+=(scripts/bench/requirements.txt)
elif [[ "${1:-}" == --quantus ]]; then
    venv="${DLBC_CACHE:-.cache}/venv-quantus"
    files+=(scripts/bench/requirements-quantus.txt)
elif [[ "${1:-}" == --trees ]]; then
    venv="${DLBC_CACHE:-.cache}/venv-trees"
    files=(scripts/trees/requirements.txt)
elif [[ $# -gt 0 ]]; then
    echo "usage: $0 [--bench|--quantus|--trees]" >&2
    exit 2
fi
[[ "$venv" = /* ]] || venv="$PWD/$venv"

base="${PYTHON:-python3}"
stamp="$({ "$base" --version; grep -hv '^#' "${files[@]}"; } | sha256sum | cut -d' ' -f1)"
if [[ "$(cat "$venv/.stamp" 2>/dev/null)" != "$stamp" || ! -x "$venv/bin/python" ]]; then
    rm -rf "$venv"
    "$base" -m venv "$venv"
    # --no-deps: the files name the whole closure, so nothing unpinned can slip in.
    args=()
    for f in "${files[@]}"; do args+=(-r "$f"); done
    "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps "${args[@]}" >&2
    echo "$stamp" > "$venv/.stamp"
fi
echo "$venv/bin/python"
