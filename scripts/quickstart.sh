#!/usr/bin/env bash
# Builds plugbay and shows its main job: sign a plugin, install it, run it in a sandbox.
set -euo pipefail
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/docker.sh
. scripts/lib/docker.sh
# shellcheck source=scripts/lib/bubblewrap.sh
. scripts/lib/bubblewrap.sh

usage() {
    cat <<'USAGE'
Builds plugbay, starts it on a free port, installs a signed example plugin and runs it in a sandbox.

Usage: scripts/quickstart.sh [--once] [--no-install] [--engine E] [--dir DIR]
       scripts/quickstart.sh --stop [--dir DIR]

  --once        stop the service after the demonstration
  --stop        stop the service of an earlier run and do nothing else
  --no-install  install nothing; say what is missing and fail
  --engine E    what plugins run in: docker; process (bubblewrap, without Docker); or auto, which takes Docker when it
                answers, else process. Without this, Docker is installed and started where that is possible
  --dir DIR     where everything is kept (default: .plugbay), seen from the repository's top folder
  --help        print this

Exit code: 0 if the demonstration worked, 2 for wrong usage, 1 otherwise.
USAGE
}

mode=stay
may_install=yes
engine=
dir=.plugbay
while [ $# -gt 0 ]; do
    case $1 in
    --once) mode=once ;;
    --stop) mode=stop ;;
    --no-install) may_install=no ;;
    --dir | --engine)
        if [ -z "${2:-}" ]; then
            echo "error: $1 needs a value" >&2
            exit 2
        fi
        if [ "$1" = --dir ]; then dir=${2%/}; else engine=$2; fi
        if [ "$1" = --engine ] && [[ $2 != @(auto|docker|process) ]]; then
            echo "error: --engine is auto, docker or process, not $2" >&2
            exit 2
        fi
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
for name in $(compgen -v PLUGBAY_ || true); do
    if [ "$name" != PLUGBAY_DEBIAN_MIRROR ]; then unset "$name"; fi
done
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
# Paths of sockets must be short, so this is not in $dir; another service has another folder.
run_dir=/run
if [ "$(id -u)" != 0 ]; then run_dir=${XDG_RUNTIME_DIR:-/tmp}; fi
run_dir=$run_dir/plugbay-$(id -u)-$(realpath -m "$dir" | sha256sum | cut -c 1-8)

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
    # Sandboxes have removed what was theirs; a folder that is not empty stays for whoever looks into it.
    if [ -d "$run_dir" ]; then rmdir --ignore-fail-on-non-empty "$run_dir"; fi
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

# What must be there. The service finds out by itself, and says why it took what it took.
sandbox=docker
case $engine in
process) sandbox=process ;;
auto) if ! docker_ready; then sandbox=process; fi ;;
esac
needed="Docker are there, and start Docker"
image_plan="make the image for sandboxes from Debian packages, 100 MB, no image registry needed"
if [ "$sandbox" = process ]; then
    needed="bubblewrap are there"
    image_plan="make no image: plugins see this machine's own /usr, read-only"
fi
cat <<PLAN
This will
  1. check that Rust $wanted_rust or later, a C compiler, Python 3 and $needed
  2. build plugbay (cargo build; some minutes the first time)
  3. $image_plan
  4. start the service on a free port of this machine, with its data in $data/
  5. make a signing key and an example plugin, pack it and sign it, all in $dir/
  6. install the plugin, enable it and call it
PLAN
case $mode in
once) echo "  7. stop the service" ;;
*) echo "and leave the service running. Stop it with: $stop_command" ;;
esac
if [ "$sandbox" = docker ] && ! docker_ready; then echo "Docker does not answer yet."; fi
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
    install_packages "$may_install" "${packages[@]}" || exit 1
fi
if [ "$sandbox" = process ]; then
    ensure_bubblewrap "$may_install" || exit 1
    sandboxes=$(/usr/bin/bwrap --version)
else
    ensure_docker "$may_install" || exit 1
    sandboxes="Docker $(docker version --format '{{.Server.Version}}')"
fi
echo "Rust $rust, $(cc --version | head -n 1), $(python3 --version), $sandboxes"

step "Build"
echo "A debug build: it takes a third of the time of a release build, and nothing shown here needs more speed."
run cargo build --locked --bin plugbay

if [ "$sandbox" = docker ]; then
    step "The image for sandboxes"
    image=(docker/python/build.sh)
    if [ "$may_install" = no ]; then image+=(--no-install); fi
    run "${image[@]}"
fi

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
    local serve=("$bin" serve --data-dir "$data" --config "$dir/plugbay.yaml" --listen 127.0.0.1:0)
    if [ -n "$engine" ]; then serve+=(--engine "$engine"); fi
    : >"$log"
    echo "\$ ${serve[*]} >$log 2>&1 &"
    # A session of its own: closing the terminal or Ctrl-C in it does not reach the service.
    setsid "${serve[@]}" >"$log" 2>&1 &
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
cat >"$dir/plugbay.yaml" <<SETTINGS
# docs/configuration.md lists every setting.
server: { run_dir: "$run_dir" }
sandbox: { docker_host: "$DOCKER_HOST" }
SETTINGS
if pid=$(running_pid); then
    url=$(cat "$url_file" 2>/dev/null || true)
    # A build that replaced the binary leaves the old one running from a deleted file.
    command=$(tr '\0' ' ' <"/proc/$pid/cmdline")
    if [ -n "$url" ] && [ "/proc/$pid/exe" -ef "$bin" ] && [[ $command == *" --engine $engine "* || -z $engine ]] &&
        answers "$url"; then
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
answer=
if [ -e "$example/plugin.yaml" ]; then
    echo "The plugin of an earlier run is used: $example/"
else
    run "$bin" init "$example"
    answer="Hello, Ada!"
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

step "Run it in a sandbox"
context='{"message":"Hello","user":"Ada"}'
run "$bin" enable hello
run "$bin" exec hello "$context"
run "$bin" list

"$bin" --json show hello >"$dir/show.json"
"$bin" --json list >"$dir/list.json"
"$bin" --json exec hello "$context" >"$dir/exec.json"
python3 - "$dir" "$version" "$digest" "$answer" <<'PYTHON' || fail "the demonstration did not work"
import json, sys
folder, version, digest, answer = sys.argv[1:]
with open(folder + "/show.json") as file:
    shown = json.load(file)
with open(folder + "/list.json") as file:
    listed = [plugin["name"] for plugin in json.load(file)["plugins"]]
with open(folder + "/exec.json") as file:
    called = json.load(file)
expected = {"name": "hello", "version": version, "digest": digest, "signature": "valid", "status": "enabled"}
found = {key: shown.get(key) for key in expected}
if found != expected:
    sys.exit(f"`plugbay show` says {found}; expected {expected}")
# The plugin of an earlier run may have been changed since.
if called.get("success") is not True or (answer and called.get("result") != answer):
    sys.exit(f"`plugbay exec` says {called}; expected the result {answer!r}")
if listed.count("hello") != 1:
    sys.exit(f"`plugbay list` says {listed}; expected hello in it")
PYTHON

step "It worked"
isolation=$(field "$dir/show.json" isolation)
case $engine in
'' | auto)
    # Of the last start that is in the log, if its beginning is still there.
    why=$(python3 - "$log" <<'PYTHON'
import json, sys
why = "the strongest engine that answers is taken"
for line in open(sys.argv[1]):
    try:
        message = json.loads(line).get("message", "")
    except ValueError:
        continue
    if message.startswith("Plugins run "):
        why = message
print(why)
PYTHON
    )
    ;;
*) why="--engine $engine was said" ;;
esac
echo "hello $version is signed and installed, and it answered from its sandbox."
echo "Isolation: $isolation ($why)"
if [ "$mode" = once ]; then exit 0; fi
cat <<NEXT
The service runs at $url (process $(cat "$pid_file")); API documentation: $url/docs

Try next:
  export PLUGBAY_URL=$url PLUGBAY_DATA_DIR=$data PATH=$(dirname "$(realpath "$bin")"):\$PATH
  plugbay exec hello '{"user":"Grace"}'
  plugbay logs hello -f
  plugbay stats hello
  plugbay disable hello
  curl -H "Authorization: Bearer \$(cat $data/admin.token)" -H 'Content-Type: application/json' \\
       -d '{"context":{"user":"Grace"}}' $url/api/plugins/hello/execute

Change $example/main.py and run this again: hello is updated while it serves.
Stop it: $stop_command
Remove everything: stop it, then rm -r $dir
NEXT
