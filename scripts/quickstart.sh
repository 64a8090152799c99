#!/usr/bin/env bash
# Builds plugbay and shows its main job: sign a plugin, install it, look at it.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
    cat <<'USAGE'
Builds plugbay, starts it on a free port, and installs a signed example plugin.

Usage: scripts/quickstart.sh [--once] [--no-install] [--dir DIR]
       scripts/quickstart.sh --stop [--dir DIR]

  --once        stop the service after the demonstration
  --stop        stop the service of an earlier run and do nothing else
  --no-install  install nothing; say what is missing and fail
  --dir DIR     where everything is kept (default: .plugbay), seen from the repository's top folder
  --help        print this

Exit code: 0 if the demonstration worked, 2 for wrong usage, 1 otherwise.
USAGE
}

mode=stay
may_install=yes
dir=.plugbay
while [ $# -gt 0 ]; do
    case $1 in
    --once) mode=once ;;
    --stop) mode=stop ;;
    --no-install) may_install=no ;;
    --dir)
        if [ -z "${2:-}" ]; then
            echo "error: --dir needs a folder" >&2
            exit 2
        fi
        dir=${2%/}
        shift
        ;;
    -h | --help) usage; exit 0 ;;
    *)
        printf 'error: unknown argument: %s\n\n' "$1" >&2
        usage >&2
        exit 2
        ;;
    esac
    shift
done

# Settings of another installation of plugbay must not reach this one.
for name in $(compgen -v PLUGBAY_ || true); do unset "$name"; done
exec </dev/null

stop_command="scripts/quickstart.sh --stop"
if [ "$dir" != .plugbay ]; then stop_command="$stop_command --dir $dir"; fi
data=$dir/data
pid_file=$dir/service.pid
url_file=$dir/service.url
log=$dir/service.log
example=$dir/example/hello
archive=$dir/hello.tar.gz
key=$dir/author
bin=${CARGO_TARGET_DIR:-target}/debug/plugbay

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

step() { printf '\n== %s\n' "$1"; }

# Prints a command in a form that can be copied, then runs it.
run() {
    local word
    printf '$'
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=,+-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
    done
    printf '\n'
    "$@"
}

# The process of an earlier run, if it is still there and still that service.
running_pid() {
    local pid
    pid=$(cat "$pid_file" 2>/dev/null) || return 1
    [ -n "$pid" ] && [ "$(readlink "/proc/$pid/cwd" 2>/dev/null)" = "$(pwd -P)" ] || return 1
    tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF -- " serve --data-dir $data " || return 1
    echo "$pid"
}

stop_service() {
    local pid
    if pid=$(running_pid); then
        kill "$pid" 2>/dev/null || true
        # The service lets calls end; it takes 20 seconds at most.
        for _ in $(seq 250); do
            [ -e "/proc/$pid" ] || break
            sleep 0.1
        done
        [ ! -e "/proc/$pid" ] || fail "process $pid does not stop; try: kill -9 $pid"
        echo "Stopped the service (process $pid)."
    elif [ "$mode" = stop ]; then
        echo "No service of $dir is running."
    fi
    rm -f "$pid_file" "$url_file"
}

[ "$(uname -s)" = Linux ] || fail "plugbay runs on Linux; on other systems use a virtual machine or a container"

if [ "$mode" = stop ]; then
    stop_service
    exit 0
fi

# -- What is missing ----------------------------------------------------------------------------------------------

if ! command -v cargo >/dev/null && [ -x "${CARGO_HOME:-$HOME/.cargo}/bin/cargo" ]; then
    PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH
fi
wanted_rust=$(sed -n 's/^rust-version = "\([0-9.]*\)".*/\1/p' Cargo.toml)
rust=$(cargo --version 2>/dev/null | sed 's/^cargo \([0-9.]*\).*/\1/' || true)

packages=()
if ! printf 'int main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null; then packages+=(gcc libc6-dev); fi
if ! command -v python3 >/dev/null; then packages+=(python3); fi

cat <<PLAN
This will
  1. check that Rust $wanted_rust or later, a C compiler and Python 3 are there
  2. build plugbay (cargo build; some minutes the first time)
  3. start the service on a free port of this machine, with its data in $data/
  4. make a signing key and an example plugin, pack it and sign it, all in $dir/
  5. install the plugin and show it
PLAN
case $mode in
once) echo "  6. stop the service" ;;
*) echo "and leave the service running. Stop it with: $stop_command" ;;
esac
if [ ${#packages[@]} -gt 0 ]; then echo "Missing on this machine: ${packages[*]}"; fi

step "Tools"
if [ -z "$rust" ]; then
    fail "Rust is missing. Get it from https://rustup.rs:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then run this script again."
fi
if [ "$(printf '%s\n' "$wanted_rust" "$rust" | sort -V | head -n 1)" != "$wanted_rust" ]; then
    fail "Rust $rust is too old; plugbay needs $wanted_rust: rustup update stable"
fi
if [ ${#packages[@]} -gt 0 ]; then
    if ! command -v apt-get >/dev/null; then
        fail "install a C compiler and Python 3 with your system's package manager (Debian's names: ${packages[*]})"
    elif [ "$may_install" = no ] || [ "$(id -u)" != 0 ]; then
        sudo=$([ "$(id -u)" = 0 ] || echo "sudo ")
        fail "missing: ${packages[*]}. Install with:
  ${sudo}apt-get update && ${sudo}apt-get install -y ${packages[*]}"
    fi
    run apt-get update -q
    DEBIAN_FRONTEND=noninteractive run apt-get install -qy --no-install-recommends "${packages[@]}"
fi
echo "Rust $rust, $(cc --version | head -n 1), $(python3 --version)"

step "Build"
echo "A debug build: it takes a third of the time of a release build, and nothing shown here needs more speed."
run cargo build --locked --bin plugbay

# -- The service --------------------------------------------------------------------------------------------------

answers() {
    python3 - "$1/readyz" <<'PYTHON' 2>/dev/null
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.exit(0 if opener.open(sys.argv[1], timeout=5).status == 200 else 1)
PYTHON
}

started=no
finish() {
    local code=$?
    trap - EXIT
    # A service that nobody was told about must not stay.
    if [ "$mode" = once ] || { [ "$started" = yes ] && [ $code -ne 0 ]; }; then stop_service || code=1; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

start_service() {
    : >"$log"
    echo "\$ $bin serve --data-dir $data --config $dir/plugbay.yaml --listen 127.0.0.1:0 >$log 2>&1 &"
    # A session of its own: closing the terminal or Ctrl-C in it does not reach the service.
    setsid "$bin" serve --data-dir "$data" --config "$dir/plugbay.yaml" --listen 127.0.0.1:0 >"$log" 2>&1 &
    local pid=$!
    echo "$pid" >"$pid_file"
    started=yes
    for _ in $(seq 300); do
        url=$(sed -n 's|.*Listening on \(http://[0-9.]*:[0-9]*\).*|\1|p' "$log" | head -n 1)
        if [ -n "$url" ] && answers "$url"; then break; fi
        if ! kill -0 "$pid" 2>/dev/null; then
            cat "$log" >&2
            fail "the service did not start. To start over: rm -r $dir"
        fi
        url=
        sleep 0.1
    done
    [ -n "$url" ] || fail "the service was not ready within 30 seconds; see $log"
    echo "$url" >"$url_file"
    echo "Ready at $url (process $pid)."
}

step "Start the service"
mkdir -p "$dir"
echo "# The quick start needs no settings. docs/configuration.md lists them." >"$dir/plugbay.yaml"
if pid=$(running_pid); then
    url=$(cat "$url_file" 2>/dev/null || true)
    # A build that replaced the binary leaves the old one running from a deleted file.
    if [ -n "$url" ] && [ "/proc/$pid/exe" -ef "$bin" ] && answers "$url"; then
        echo "The service of an earlier run is ready at $url (process $pid)."
    else
        stop_service
        start_service
    fi
else
    start_service
fi
printf '$ export PLUGBAY_URL=%q PLUGBAY_DATA_DIR=%q\n' "$url" "$data"
export PLUGBAY_URL=$url PLUGBAY_DATA_DIR=$data

# -- The demonstration --------------------------------------------------------------------------------------------

# field FILE KEY: one value of a JSON object.
field() { python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))[sys.argv[2]])' "$@"; }

pack() {
    run "$bin" pack "$example" --output "$archive"
    digest=sha256:$(sha256sum "$archive" | cut -d ' ' -f 1)
    version=$(sed -n 's/^version: *\([^ #]*\).*/\1/p' "$example/plugin.yaml")
}

step "The author's side: a key, a plugin, a signed archive"
if [ -e "$key.key" ] && [ -e "$key.pub" ]; then
    echo "The key of an earlier run is used: $key.key"
else
    rm -f "$key.key" "$key.pub"
    run "$bin" keygen --no-password --output "$key"
fi
if [ -e "$example/plugin.yaml" ]; then
    echo "The plugin of an earlier run is used: $example/"
else
    run "$bin" init "$example"
fi
pack
if "$bin" --json show hello >"$dir/show.json" 2>/dev/null && [ "$(field "$dir/show.json" version)" = "$version" ] &&
    [ "$(field "$dir/show.json" digest)" != "$digest" ]; then
    next=${version%.*}.$((${version##*.} + 1))
    echo "hello $version is installed with other bytes, so this is $next."
    run sed -i "s/^version: .*/version: $next/" "$example/plugin.yaml"
    pack
fi
run "$bin" sign "$archive" --key "$key.key"

step "The operator's side: trust the author's key, install"
run "$bin" install "$archive" --trust "$key.pub" --or-update
run "$bin" show hello
run "$bin" list

"$bin" --json show hello >"$dir/show.json"
"$bin" --json list >"$dir/list.json"
python3 - "$dir" "$version" "$digest" <<'PYTHON' || fail "the demonstration did not work"
import json, sys
folder, version, digest = sys.argv[1:]
with open(folder + "/show.json") as file:
    shown = json.load(file)
with open(folder + "/list.json") as file:
    listed = [plugin["name"] for plugin in json.load(file)["plugins"]]
expected = {"name": "hello", "version": version, "digest": digest, "signature": "valid"}
found = {key: shown.get(key) for key in expected}
if found != expected:
    sys.exit(f"`plugbay show` says {found}; expected {expected}")
if shown["status"] not in ("installed", "enabled", "disabled"):
    sys.exit(f"hello is {shown['status']}")
if listed.count("hello") != 1:
    sys.exit(f"`plugbay list` says {listed}; expected hello in it")
PYTHON

step "It worked"
echo "hello $version is installed, its signature is valid, and its bytes are those that were signed."
if [ "$mode" = once ]; then exit 0; fi
cat <<NEXT
The service runs at $url (process $(cat "$pid_file")); API documentation: $url/docs

Try it:  export PLUGBAY_URL=$url PLUGBAY_DATA_DIR=$data
         $bin audit list
Stop it: $stop_command
Remove everything: stop it, then rm -r $dir
NEXT
