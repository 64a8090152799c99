#!/usr/bin/env bash
# Runs every check and test. Needs Rust, a C compiler, Python 3, git and Docker; all but Rust is installed where that is
# possible.
# shellcheck disable=SC2317 # Steps are called by their names.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/docker.sh
. scripts/lib/docker.sh
# shellcheck source=scripts/lib/bubblewrap.sh
. scripts/lib/bubblewrap.sh

usage() {
    cat <<'USAGE'
Runs every check and test, and shows what each took. Docker is started where it does not run, and stays so.

Usage: scripts/test.sh [--quick] [--only STEP]... [--without-docker] [--list] [--no-install]

  --quick           what needs neither an engine nor a network: fmt, shell, house, build, test, template, sdk, plugins,
                    fixtures
  --only STEP       run this step alone (may be repeated)
  --without-docker  leave out the steps that need Docker; the summary says so
  --list            print the steps
  --no-install      install nothing; say what is missing and fail
  --help            print this

On two idle processors all of it takes 35 to 60 minutes with nothing built, and --quick at most 4 minutes once it is built.
The summary at the end has the seconds of each step. What is heavier is in scripts/campaign.sh.

Downloads of tests are kept in $PLUGBAY_TEST_CACHE (~/.cache/plugbay-test) by name, version and hash.
PLUGBAY_FUZZ_SECONDS sets the time of mutation per target (default 20).
Exit code: 0 if every step passed within 90 minutes, 2 for wrong usage, 1 otherwise.
USAGE
}

budget=5400
steps=(fmt shell house clippy queries build test xtask docker hostile process mutation doc template sdk plugins fixtures schemathesis quickstart
    without_docker readme chaos uptime wheels proxies contract clients)
quick_steps=(fmt shell house build test template sdk plugins fixtures)
# What makes no sense without a binary.
after_build=" test xtask docker hostile process mutation plugins schemathesis quickstart without_docker readme chaos uptime wheels proxies contract clients "
# What starts sandboxes.
with_docker=" docker hostile quickstart readme uptime wheels proxies contract clients "
bin=${CARGO_TARGET_DIR:-target}/debug/plugbay
work=target/test

step_fmt() {
    cargo fmt --all --check
    rustfmt --check --edition 2024 plugins/native-echo/main.rs
}
step_shell() {
    local script
    local scripts=(scripts/*.sh scripts/lib/*.sh docker/*/*.sh plugins/*/*.sh .ci/run)
    for script in "${scripts[@]}"; do bash -n "$script"; done
    if command -v shellcheck >/dev/null; then shellcheck --external-sources "${scripts[@]}"; fi
    python3 -B scripts/curl.py --check
}
# Sizes of objects, circles of modules, owners of crates.
step_house() { python3 -B scripts/house.py; }
step_clippy() { cargo clippy --locked --workspace --all-targets -- -D warnings; }
step_queries() { scripts/queries.sh --check; }
step_build() { cargo build --locked; }
# Mutation has a step of its own; here it only shows that it runs.
step_test() {
    local file name targets=(--lib --bins)
    for file in tests/*.rs tests/*/main.rs crates/*/tests/*.rs; do
        name=${file##*tests/}
        name=${name%/main.rs}
        # They have steps of their own.
        if [ "$name" != docker ] && [ "$name" != hostile ]; then targets+=(--test "${name%.rs}"); fi
    done
    PLUGBAY_FUZZ_SECONDS=1 cargo test --locked --no-fail-fast --workspace "${targets[@]}"
    # Each example is a program to link.
    if [ -z "${PLUGBAY_TEST_QUICK:-}" ]; then cargo test --locked --workspace --doc; fi
}
# What cargo xtask makes compiles, in a copy of the tree that is built beside everything else.
step_xtask() { cargo test --locked --package xtask --test places; }
step_docker() { cargo test --locked --no-fail-fast --test docker; }
step_hostile() { cargo test --locked --no-fail-fast --test hostile; }
# The same tests against bubblewrap.
step_process() { PLUGBAY_TEST_ENGINE=process cargo test --locked --no-fail-fast --test docker --test hostile; }
step_mutation() { PLUGBAY_FUZZ_SECONDS=${PLUGBAY_FUZZ_SECONDS:-20} cargo test --locked --test mutation; }
step_doc() { RUSTDOCFLAGS="${RUSTDOCFLAGS:-} -D warnings" cargo doc --locked --workspace --no-deps; }
step_template() { (cd plugin-template/python && python3 -B -m unittest discover -s tests); }
step_sdk() {
    local version=2.4.1
    local venv=$PWD/target/venvs/mypy-$version
    (cd sdk/python && python3 -B -m unittest discover -s tests)
    if [ ! -e "$venv/installed" ] && [ -n "${PLUGBAY_TEST_QUICK:-}" ]; then
        echo "mypy is not installed yet, and --quick needs no network: types are not checked"
        return
    fi
    # Made last, so that an interrupted installation is done again.
    if [ ! -e "$venv/installed" ]; then
        rm -rf "$venv"
        python3 -m venv "$venv"
        "$venv/bin/pip" install --quiet --disable-pip-version-check "mypy==$version"
        touch "$venv/installed"
    fi
    (cd sdk/python && "$venv/bin/mypy" --strict plugbay)
}
step_plugins() {
    local plugin
    for plugin in plugins/*/tests; do (cd "$(dirname "$plugin")" && python3 -B -m unittest discover -s tests); done
    mkdir -p "$work"
    rustc --edition 2024 -D warnings --test -o "$work/native-echo" plugins/native-echo/main.rs
    "$work/native-echo"
    # Under the first process of a sandbox, which is built for it.
    python3 -B -m unittest discover -s plugins/tests
    for plugin in plugins/*/plugin.yaml; do "$bin" validate "$(dirname "$plugin")"; done
}
step_fixtures() { python3 -B tests/fixtures/archives/check.py; }
step_chaos() { PLUGBAY_BIN=$bin scripts/chaos.sh install 20; }
# Without a kill of what is counted: that is a campaign, as one of them is a larger share of 20 s than it is of 10 minutes.
step_uptime() { PLUGBAY_BIN=$bin scripts/chaos.sh calls 20; }
step_proxies() { PLUGBAY_BIN=$bin python3 -B scripts/proxies.py; }
step_contract() { PLUGBAY_BIN=$bin python3 -B scripts/contract.py; }
step_clients() { PLUGBAY_BIN=$bin python3 -B scripts/clients.py; }
# All ten are a campaign.
step_wheels() { PLUGBAY_BIN=$bin python3 -B scripts/wheels.py orjson numpy; }

# Twice, because the second run meets what the first one left; then with a finished program.
step_quickstart() {
    local began lines
    rm -rf "$work/quickstart"
    scripts/quickstart.sh --no-install --once --dir "$work/quickstart" | tee "$work/quickstart.log"
    lines=$(wc -l <"$work/quickstart.log")
    if [ "$lines" -gt 72 ]; then
        echo "error: it printed $lines lines, which is more than two screens (72)"
        return 1
    fi
    scripts/quickstart.sh --no-install --once --dir "$work/quickstart"
    "$work/quickstart/bin/plugbay" --version
    rm -rf "$work/quickstart"
    began=$SECONDS
    scripts/quickstart.sh --no-install --once --binary "$bin" --dir "$work/quickstart"
    # Five times what it takes on an idle machine.
    if [ $((SECONDS - began)) -gt 20 ]; then
        echo "error: with --binary it took $((SECONDS - began)) s; 20 are allowed"
        return 1
    fi
    rm -rf "$work/quickstart" "$work/quickstart.log"
}

# On a machine that has no Docker: told to do without it, and finding out.
step_without_docker() {
    local engine found
    for engine in process auto; do
        rm -rf "$work/without_docker"
        hide_docker scripts/quickstart.sh --no-install --once --engine "$engine" --dir "$work/without_docker" |
            tee "$work/without_docker.log"
        found=$(tail -n 2 "$work/without_docker.log" | head -n 1)
        case $engine,$found in
        "process,Isolation: process (--engine process was said)") ;;
        "auto,Isolation: process (Plugins run under bubblewrap "*"Docker cannot be reached at "*) ;;
        *) echo "error: with --engine $engine it said: $found" && return 1 ;;
        esac
    done
    rm -rf "$work/without_docker" "$work/without_docker.log"
}

step_readme() { PLUGBAY_BIN=$bin python3 -B scripts/readme.py; }

step_schemathesis() {
    local folder=$work/schemathesis url=
    rm -rf "$folder"
    mkdir -p "$folder"
    "$bin" serve --data-dir "$folder/data" --listen 127.0.0.1:0 >"$folder/log" 2>&1 &
    service=$!
    trap 'kill "$service" 2>/dev/null && wait "$service" || true' EXIT
    for _ in $(seq 300); do
        url=$(sed -n 's|.*Listening on \(http://[0-9.]*:[0-9]*\).*|\1|p' "$folder/log" | head -n 1)
        if [ -n "$url" ] && [ -s "$folder/data/admin.token" ]; then break; fi
        kill -0 "$service" || break
        sleep 0.1
    done
    if [ -z "$url" ]; then
        cat "$folder/log"
        return 1
    fi
    scripts/schemathesis.sh "$url" "$(cat "$folder/data/admin.token")"
    kill -0 "$service" || { echo "the service ended" && tail "$folder/log" && return 1; }
}

# -- Arguments ----------------------------------------------------------------------------------------------------

chosen=()
may_install=yes
use_docker=yes
quick=
while [ $# -gt 0 ]; do
    case $1 in
    # One step, for the loop below.
    --inside)
        "step_$2"
        exit 0
        ;;
    --only)
        if [[ " ${steps[*]} " != *" ${2:-} "* ]] || [ -z "${2:-}" ]; then
            echo "error: --only: expected one of: ${steps[*]}" >&2
            exit 2
        fi
        chosen+=("$2")
        shift
        ;;
    --list) printf '%s\n' "${steps[@]}"; exit 0 ;;
    --quick)
        chosen+=("${quick_steps[@]}")
        quick=yes
        ;;
    --without-docker) use_docker=no ;;
    --no-install) may_install=no ;;
    -h | --help) usage; exit 0 ;;
    *)
        printf 'error: unknown argument: %s\n\n' "$1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done
if [ ${#chosen[@]} -eq 0 ]; then chosen=("${steps[@]}"); fi

exec </dev/null
export RUST_BACKTRACE=${RUST_BACKTRACE:-0}
for name in $(compgen -v PLUGBAY_ || true); do
    # Settings of an installation must not reach the tests.
    case $name in PLUGBAY_FUZZ_* | PLUGBAY_TEST_CACHE | PLUGBAY_DEBIAN_MIRROR) ;; *) unset "$name" ;; esac
done
if [ -n "$quick" ]; then export PLUGBAY_TEST_QUICK=yes; fi

# -- What the steps need ------------------------------------------------------------------------------------------

if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi
missing=()
if ! command -v cargo >/dev/null; then missing+=("Rust: https://rustup.rs"); fi
if ! cargo fmt --version >/dev/null 2>&1; then missing+=("rustfmt: rustup component add rustfmt"); fi
if ! cargo clippy --version >/dev/null 2>&1; then missing+=("clippy: rustup component add clippy"); fi
packages=()
if ! printf 'int main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null; then packages+=(gcc libc6-dev); fi
if ! command -v git >/dev/null; then packages+=(git); fi
if ! command -v curl >/dev/null; then packages+=(curl); fi
if ! command -v minisign >/dev/null; then packages+=(minisign); fi
if ! command -v openssl >/dev/null; then packages+=(openssl); fi
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then packages+=(python3 python3-venv); fi
if ! python3 -m pip --version >/dev/null 2>&1; then packages+=(python3-pip); fi
# Volumes of plugins, which only root can mount.
if [ "$(id -u)" = 0 ] && ! [ -x /usr/sbin/mkfs.ext4 ] && ! [ -x /sbin/mkfs.ext4 ]; then packages+=(e2fsprogs); fi
if [ "$(id -u)" = 0 ] && ! command -v mount >/dev/null; then packages+=(mount); fi
if [ ${#packages[@]} -gt 0 ]; then
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] && [ "$may_install" = yes ]; then
        echo "== install ${packages[*]}"
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "${packages[@]}"
    else
        sudo=$([ "$(id -u)" = 0 ] || echo "sudo ")
        missing+=("${packages[*]}: ${sudo}apt-get update && ${sudo}apt-get install -y ${packages[*]}")
    fi
fi
if [ ${#missing[@]} -gt 0 ]; then
    echo "error: this is missing:" >&2
    printf '  %s\n' "${missing[@]}" >&2
    exit 1
fi

needs_docker=no
for step in "${chosen[@]}"; do
    if [[ $with_docker == *" $step "* ]]; then needs_docker=$use_docker; fi
done
if [ "$needs_docker" = yes ]; then
    flags=()
    if [ "$may_install" = no ]; then flags+=(--no-install); fi
    if ! ensure_docker "$may_install" || ! docker/python/build.sh "${flags[@]}"; then
        echo "What needs Docker can be left out: scripts/test.sh --without-docker" >&2
        exit 1
    fi
fi

for step in "${chosen[@]}"; do
    if [[ $step == @(process|without_docker) ]]; then ensure_bubblewrap "$may_install" || exit 1; fi
    if [ "$step" = process ]; then
        # The tests make such a folder as well, without a download: from what is kept now.
        flags=(--folder "$work/python")
        if [ "$may_install" = no ]; then flags+=(--no-install); fi
        rm -rf "$work/python"
        docker/python/build.sh "${flags[@]}" || exit 1
        rm -r "$work/python"
    fi
done

# -- The steps ----------------------------------------------------------------------------------------------------

running=
interrupted() {
    trap '' INT TERM
    echo "interrupted" >&2
    if [ -n "$running" ]; then
        # timeout hands it on to everything the step has started.
        kill -TERM "$running" 2>/dev/null || true
        wait "$running" || true
    fi
    exit "$1"
}
trap 'interrupted 130' INT
trap 'interrupted 143' TERM

mkdir -p "$work/steps"
summary=()
failures=()
failed=0
built=yes
for step in "${chosen[@]}"; do
    began=$SECONDS
    left=$((budget - SECONDS))
    if [ "$use_docker" = no ] && [[ $with_docker == *" $step "* ]]; then
        printf '\n== %s\n-- %s: LEFT OUT, because of --without-docker\n' "$step" "$step"
        summary+=("$(printf '%-14s %6s  LEFT OUT, because of --without-docker' "$step" -)")
        continue
    elif [ "$built" = no ] && [[ $after_build == *" $step "* ]]; then
        summary+=("$(printf '%-14s %6s  skipped, because the build failed' "$step" -)")
        continue
    elif [ "$left" -le 0 ]; then
        summary+=("$(printf '%-14s %6s  NOT RUN, because 90 minutes are over' "$step" -)")
        failed=1
        continue
    fi
    printf '\n== %s\n' "$step"
    code=0
    timeout --kill-after=30 "$left" bash "$0" --inside "$step" > >(tee "$work/steps/$step.log") 2>&1 &
    running=$!
    wait "$running" || code=$?
    running=
    result=ok
    if [ "$code" = 124 ] || [ "$code" = 137 ]; then
        result="FAILED, because 90 minutes are over"
    elif [ "$code" != 0 ]; then
        result="FAILED with exit code $code"
    fi
    if [ "$code" != 0 ]; then
        failed=1
        failures+=("$step")
        if [ "$step" = build ]; then built=no; fi
    fi
    took=$((SECONDS - began))
    printf -- '-- %s: %s, %s s\n' "$step" "$result" "$took"
    summary+=("$(printf '%-14s %4s s  %s' "$step" "$took" "$result")")
done

result=ok
if [ "$failed" != 0 ]; then
    result=FAILED
elif [[ "${summary[*]}" == *"LEFT OUT"* ]]; then
    result="ok, but nothing was tried in a sandbox"
fi
# Once more at the end, where a reader of a long log looks first.
for step in "${failures[@]}"; do
    printf '\n== why %s failed\n' "$step"
    grep --extended-regexp --after-context=8 'panicked at|^error|^not ok' "$work/steps/$step.log" | head -n 80 ||
        tail -n 20 "$work/steps/$step.log"
done
printf '\n== summary\n'
printf '%s\n' "${summary[@]}"
printf '%-14s %4s s  %s\n' all "$SECONDS" "$result"
exit "$failed"
