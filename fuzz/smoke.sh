#!/usr/bin/env bash
# Runs every fuzz target for a few seconds: fuzz/smoke.sh [SECONDS]. With SECONDS=600 it is the
# long form. It needs cargo-fuzz; a stable compiler is told to take the flags of a nightly one.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-5}
if ! cargo fuzz --version >/dev/null 2>&1; then
    echo "fuzz: left out, cargo-fuzz is not installed (cargo install cargo-fuzz --locked)"
    exit 0
fi
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
    # What it finds goes to a folder of its own, so that the kept corpus stays small.
    found="target/found/$target"
    mkdir -p "$found"
    cargo fuzz run --sanitizer none "$target" "$found" "corpus/$target" -- \
        -dict="dictionaries/$target.dict" -max_len=4096 -max_total_time="$seconds" \
        -timeout=60 -print_final_stats=1 -verbosity=0
done
