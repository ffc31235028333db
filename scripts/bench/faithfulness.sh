#!/usr/bin/env bash
# Measures every composite and writes docs/src/appendix/faithfulness.md (half an hour on two cores).
set -euo pipefail
cd "$(dirname "$0")/../.."
python="$(scripts/python_env.sh)"
"$python" scripts/models/fetch.py efficientnet_lite0
cargo build --release
"$python" scripts/bench/faithfulness.py target/release/dlbc "$@"
