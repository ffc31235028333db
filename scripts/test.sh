#!/usr/bin/env bash
# Sets up what the tests need and runs them all.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/python_env.sh > /dev/null
cargo test --workspace "$@"
