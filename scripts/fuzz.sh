#!/bin/sh
# Runs every fuzz target for SECONDS each (default 60) with cargo-fuzz. What it finds lands in fuzz/artifacts/.
set -eu
cd "$(dirname "$0")/.."
seconds=${1:-60}

missing=
rustup run nightly rustc --version >/dev/null 2>&1 ||
    missing="$missing
  a nightly compiler:  rustup toolchain install nightly"
cargo fuzz --version >/dev/null 2>&1 ||
    missing="$missing
  cargo-fuzz:          cargo install cargo-fuzz"
if [ -n "$missing" ]; then
    echo "scripts/fuzz.sh needs:$missing" >&2
    echo "Without them, \`PLUGBAY_FUZZ_SECONDS=$seconds cargo test --test mutation\` runs the same targets with a simple mutator." >&2
    exit 1
fi

# New inputs go into a folder of their own, so that the committed corpus stays small.
for target in fuzz/fuzz_targets/*.rs; do
    target=$(basename "$target" .rs)
    echo "== $target, $seconds s"
    mkdir -p "fuzz/target/corpus/$target"
    cargo +nightly fuzz run "$target" "fuzz/target/corpus/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -max_len=65536 -rss_limit_mb=1024
done
