#!/bin/sh
# Makes the program next to plugin.yaml: static, so it runs in any image. `plugbay pack` calls this.
set -eu
cd "$(dirname "$0")"
exec rustc --edition 2024 -O -C target-feature=+crt-static -C panic=abort -C strip=symbols -o native-echo main.rs
