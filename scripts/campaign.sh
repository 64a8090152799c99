#!/usr/bin/env bash
# Runs what is too heavy for test.sh, and writes what it measured into docs/measured/.
# shellcheck disable=SC2317 # Campaigns are called by their names.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/docker.sh
. scripts/lib/docker.sh
# shellcheck source=scripts/lib/bubblewrap.sh
. scripts/lib/bubblewrap.sh

usage() {
    cat <<'USAGE'
Runs campaigns: checks and measurements that are too heavy for scripts/test.sh. Each writes docs/measured/NAME.md.

Usage: scripts/campaign.sh NAME... | --list

  chaos    the service is killed 200 times while it installs; six plugins are called for ten minutes while things are killed,
           callers hang up and readers are slow, and must answer in 99.9 % of the time. 20 minutes
  fuzz     every fuzz target, 10 minutes each, with cargo-fuzz where it is installed, else with the simple mutator. 70 minutes
  wheels   ten Python packages are packed and used in sandboxes of both engines. 5 minutes, 80 MB
  scan     60 well-known Python packages are scanned as code of a plugin; hardly any may be suspicious. 3 minutes, 110 MB
  clients  programs that speak OpenAI's and Anthropic's forms, for Python and Node, ask a real model server by way of
           plugbay; a scanner of compatibility tells what it finds. 3 minutes, 200 MB
  release  the release build, what it needs of the machine, and the quickstart on a clean clone. 30 minutes
  build    builds with nothing built, and checks after an edit; PLUGBAY_BUILD_BEFORE names a commit to compare. 30 minutes
  bench    every table of scripts/bench.sh. 30 minutes

  --list   print the names
  --help   print this

Run it on a machine that does nothing else. Downloads are kept in $PLUGBAY_TEST_CACHE (~/.cache/plugbay-test) by name,
version and hash. PLUGBAY_BIN names a finished program, else the release build is made (chaos, wheels, scan, clients, bench).
Exit code: 0 if every campaign passed, 2 for wrong usage, 1 otherwise. A campaign that fails writes its table, too.
USAGE
}

campaigns=(chaos fuzz wheels scan clients release build bench)
work=target/campaign

# The program of most campaigns.
release_build() {
    if [ -z "${PLUGBAY_BIN:-}" ]; then
        cargo build --locked --release --bin plugbay >&2
        PLUGBAY_BIN=${CARGO_TARGET_DIR:-target}/release/plugbay
    fi
    export PLUGBAY_BIN
}

need_engines() {
    ensure_docker yes >&2
    docker/python/build.sh >&2
}

# Each prints its part of the file to stdout, and tells of its progress on stderr.
campaign_chaos() {
    local code=0
    release_build
    need_engines
    printf '## The service is killed while it installs, updates and uninstalls\n\n'
    scripts/chaos.sh install 200 | python3 -B scripts/lib/measured.py rows || code=1
    printf '## Plugins are called while things are killed\n\n'
    cat <<'TEXT'
Six plugins are called every 20 ms. The time from the end of one call to the end of the next counts as answered if that
call was; a call that takes more than five seconds was not. Meanwhile one of the six is killed every 30 seconds, and another
plugin every two; callers hang up in the middle of a call, and twenty read their answer a byte per second. At the end the
service is killed three times: `longest until all answer` is the time until every plugin answered again, in seconds.

TEXT
    scripts/chaos.sh calls 600 | python3 -B scripts/lib/measured.py rows || code=1
    return "$code"
}

campaign_fuzz() {
    local seconds=600 target code=0
    if cargo fuzz --version >/dev/null 2>&1 && rustup run nightly rustc --version >/dev/null 2>&1; then
        printf 'With cargo-fuzz, %s s for each target.\n\n' "$seconds"
        scripts/fuzz.sh "$seconds" >&2 || code=1
    else
        printf 'Without cargo-fuzz: by the simple mutator of tests/mutation.rs, %s s for each target.\n\n' "$seconds"
        PLUGBAY_FUZZ_SECONDS=$seconds cargo test --locked --test mutation >&2 || code=1
    fi
    printf '| target | seconds | found |\n| --- | --- | --- |\n'
    for target in fuzz/fuzz_targets/*.rs; do
        target=$(basename "$target" .rs)
        printf '| %s | %s | %s |\n' "$target" "$seconds" \
            "$(find "fuzz/artifacts/$target" -type f 2>/dev/null | wc -l)"
    done
    if [ "$code" != 0 ]; then printf '\nIt ended with a failure; its output tells which target failed.\n'; fi
    return "$code"
}

campaign_wheels() {
    local engines=(--engine docker)
    release_build
    need_engines
    if ensure_bubblewrap yes >&2; then engines+=(--engine process); fi
    # shellcheck disable=SC2016 # A file, not a command.
    printf 'Each package is used, not just imported: `tests/wheels/main.py`. `first use` includes the import.\n\n'
    python3 -B scripts/wheels.py "${engines[@]}"
}

campaign_scan() {
    release_build
    # shellcheck disable=SC2016 # A file, not a command.
    printf 'Each package lies in `vendor/` of a plugin that does nothing. At most 3 %% may be suspicious, none malicious.\n\n'
    python3 -B scripts/scan_wheels.py
}

campaign_clients() {
    release_build
    need_engines
    printf '```\n'
    python3 -B scripts/clients.py --all
    printf '```\n'
}

campaign_release() {
    local clone=$work/clone bin=${CARGO_TARGET_DIR:-$PWD/target}/release/plugbay began seconds
    cargo build --locked --release --bin plugbay >&2
    need_engines
    printf '| what | measured |\n| --- | --- |\n'
    printf '| size of the program | %s MB |\n' "$(($(stat -c %s "$bin") / 1000000))"
    printf '| newest glibc that it needs | %s |\n' \
        "$(objdump -T "$bin" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)"
    rm -rf "$clone"
    git clone --quiet . "$clone"
    began=$SECONDS
    env -u CARGO_TARGET_DIR "$clone/scripts/quickstart.sh" --once >&2
    seconds=$((SECONDS - began))
    printf '| quickstart.sh --once on a clean clone, image at hand | %s s (at most 480) |\n' "$seconds"
    rm -rf "$clone/target" "$clone/.plugbay"
    began=$SECONDS
    "$clone/scripts/quickstart.sh" --once --binary "$bin" >&2
    printf '| quickstart.sh --once --binary, image at hand | %s s (at most 20) |\n' $((SECONDS - began))
    if [ "$seconds" -gt 480 ] || [ $((SECONDS - began)) -gt 20 ]; then
        rm -rf "$clone"
        return 1
    fi
    rm -rf "$clone"
}

campaign_build() {
    rm -rf "$work/builds"
    python3 -B scripts/build_times.py "$work/builds" ${PLUGBAY_BUILD_BEFORE:+"$PLUGBAY_BUILD_BEFORE"} HEAD
    rm -rf "$work/builds"
}

campaign_bench() {
    local what code=0
    for what in install call host update overload; do
        printf '## %s\n\n' "$what"
        scripts/bench.sh "$what" || code=1
        echo
    done
    return "$code"
}

chosen=()
for argument in "$@"; do
    case $argument in
    # One campaign, for the loop below.
    --inside)
        "campaign_$2"
        exit 0
        ;;
    --list) printf '%s\n' "${campaigns[@]}"; exit 0 ;;
    -h | --help) usage; exit 0 ;;
    *)
        if [[ " ${campaigns[*]} " != *" $argument "* ]]; then
            echo "error: unknown campaign: $argument; expected some of: ${campaigns[*]}" >&2
            exit 2
        fi
        chosen+=("$argument")
        ;;
    esac
done
if [ ${#chosen[@]} -eq 0 ]; then
    usage >&2
    exit 2
fi

exec </dev/null
mkdir -p "$work"
failed=0
for campaign in "${chosen[@]}"; do
    echo "== $campaign" >&2
    began=$SECONDS
    code=0
    # Its own shell, in which a command that fails ends it: a function before `||` goes on after failures.
    bash "$0" --inside "$campaign" >"$work/$campaign.md" || code=$?
    if [ "$code" != 0 ]; then
        failed=1
        printf '\n**Failed** with exit code %s.\n' "$code" >>"$work/$campaign.md"
    fi
    python3 -B scripts/lib/measured.py write "$campaign" $((SECONDS - began)) <"$work/$campaign.md" || failed=1
    echo "-- $campaign: exit code $code, $((SECONDS - began)) s; docs/measured/$campaign.md" >&2
done
exit "$failed"
