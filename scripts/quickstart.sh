#!/usr/bin/env bash
# Builds plugbay and shows its main job: sign a plugin, install it, run it in a sandbox.
set -euo pipefail
called_in=$PWD
cd "$(dirname "$0")/.."
# shellcheck source=scripts/lib/docker.sh
. scripts/lib/docker.sh
# shellcheck source=scripts/lib/bubblewrap.sh
. scripts/lib/bubblewrap.sh
# shellcheck source=scripts/lib/jobs.sh
. scripts/lib/jobs.sh
# shellcheck source=scripts/lib/quickstart.sh
. scripts/lib/quickstart.sh

usage() {
    cat <<'USAGE'
Builds plugbay, starts it on a free port, installs a signed example plugin and runs it in a sandbox.

Usage: scripts/quickstart.sh [--once] [--binary FILE] [--no-install] [--engine E] [--dir DIR]
       scripts/quickstart.sh --stop [--dir DIR]

  --once        stop the service after the demonstration
  --stop        stop the service of an earlier run and do nothing else
  --binary FILE take this program and build none; Rust and a C compiler are not needed then
  --no-install  install nothing; say what is missing and fail
  --engine E    what plugins run in: docker; process (bubblewrap, without Docker); or auto, which takes Docker when it
                answers, else process. Without this, Docker is installed and started where that is possible
  --dir DIR     where everything is kept (default: .plugbay), seen from the repository's top folder
  --help        print this

Without --binary the program is built: 4 GB of disk and 3 GB of memory are needed, and 5 to 8 minutes on two processors.
Exit code: 0 if the demonstration worked, 2 for wrong usage, 1 otherwise.
USAGE
}

mode=stay
may_install=yes
engine=
dir=.plugbay
binary=
while [ $# -gt 0 ]; do
    case $1 in
    --once) mode=once ;;
    --stop) mode=stop ;;
    --no-install) may_install=no ;;
    --dir | --engine | --binary)
        if [ -z "${2:-}" ]; then
            echo "error: $1 needs a value" >&2
            exit 2
        fi
        case $1 in
        --dir) dir=${2%/} ;;
        --engine) engine=$2 ;;
        --binary) binary=$2 ;;
        esac
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

# Seen from where the caller is, unlike --dir.
if [ -n "$binary" ]; then
    case $binary in /*) ;; *) binary=$called_in/$binary ;; esac
    if ! [ -f "$binary" ] || ! [ -x "$binary" ]; then
        echo "error: --binary: $binary is not a program" >&2
        exit 2
    fi
fi

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
logs=$dir/logs
bin=${binary:-${CARGO_TARGET_DIR:-target}/debug/plugbay}
# Megabytes that a build takes from nothing.
build_room=4000
# Paths of sockets must be short, so this is not in $dir; another service has another folder.
run_dir=/run
if [ "$(id -u)" != 0 ]; then run_dir=${XDG_RUNTIME_DIR:-/tmp}; fi
run_dir=$run_dir/plugbay-$(id -u)-$(realpath -m "$dir" | sha256sum | cut -c 1-8)

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 1
}

step() { printf '\n== %s\n' "$1"; }

# Prints a command in a form that can be copied, then runs it. With --briefly only what it says to people is shown: on
# stderr; stdout has the same for programs.
run() {
    local word briefly=no
    if [ "$1" = --briefly ]; then
        briefly=yes
        shift
    fi
    printf '$'
    for word in "$@"; do
        if [[ $word =~ ^[A-Za-z0-9_./:=,+-]+$ ]]; then printf ' %s' "$word"; else printf ' %s' "${word@Q}"; fi
    done
    printf '\n'
    if [ "$briefly" = yes ]; then { "$@" >/dev/null; } 2>&1; else "$@"; fi
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
if [ -z "$binary" ] && ! printf 'int main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null; then
    packages+=(gcc libc6-dev)
fi
if ! command -v python3 >/dev/null; then packages+=(python3); fi

# What must be there. The service finds out by itself, and says why it took what it took.
sandbox=docker
case $engine in
process) sandbox=process ;;
auto) if ! docker_ready; then sandbox=process; fi ;;
esac
needed="Docker are there, and start Docker"
image_plan="make the image for sandboxes beside that, from Debian packages; 100 MB, no image registry needed"
if [ "$sandbox" = process ]; then
    needed="bubblewrap are there"
    image_plan="make no image: plugins see this machine's own /usr, read-only"
fi
if [ -n "$binary" ]; then
    tools="Python 3"
    build_plan="take the program $binary and build none"
else
    tools="Rust $wanted_rust or later, a C compiler, Python 3"
    build_plan="build plugbay (cargo build; 5 to 8 minutes on 2 processors the first time)"
fi
cat <<PLAN
This will
  1. check that $tools and $needed
  2. $build_plan
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
if [ -z "$binary" ] && [ -z "$rust" ]; then
    fail "Rust is missing. Get it from https://rustup.rs:
  curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh
then run this script again."
fi
if [ -z "$binary" ] && [ "$(printf '%s\n' "$wanted_rust" "$rust" | sort -V | head -n 1)" != "$wanted_rust" ]; then
    fail "Rust $rust is too old; plugbay needs $wanted_rust: rustup update stable"
fi

# quietly NAME COMMAND…: runs it with its output in a log, whose end is shown if it fails.
quietly() {
    local name=$1
    shift
    if ! "$@" >"$logs/$name.log" 2>&1; then
        log_tail "$logs/$name.log" >&2
        fail "$name failed; all of it: $logs/$name.log"
    fi
}

mkdir -p "$logs"
if [ ${#packages[@]} -gt 0 ]; then
    echo "Installing ${packages[*]} …"
    quietly packages install_packages "$may_install" "${packages[@]}"
fi
if [ "$sandbox" = process ]; then
    quietly bubblewrap ensure_bubblewrap "$may_install"
fi
found=$(python3 --version)
if [ -z "$binary" ]; then found="Rust $rust, $(cc --version | head -n 1), $found"; fi
echo "$found"

# In a log of its own: Docker may have to be installed and started first.
make_image() {
    local image=(docker/python/build.sh)
    # The engine is started in a session of its own, not in this job's process group.
    set +m
    ensure_docker "$may_install"
    if [ "$may_install" = no ]; then image+=(--no-install); fi
    "${image[@]}"
}

if [ -z "$binary" ]; then
    step "Build"
    # An earlier build holds most of it.
    room=$(df -Pm . | awk 'NR == 2 { print $4 }')
    if [ ! -e "$bin" ] && [ "$room" -lt "$build_room" ]; then
        fail "a build takes $build_room MB, and $room MB are free here; make room, or take a finished program with --binary"
    fi
    echo "A debug build: it takes a third of the time of a release build, and nothing shown here needs more speed."
    echo "\$ cargo build --locked --bin plugbay    # its output: $logs/build.log"
    start_job "The build" "$logs/build.log" env CARGO_TERM_PROGRESS_WHEN=always CARGO_TERM_PROGRESS_WIDTH=100 \
        cargo build --locked --bin plugbay
fi
if [ "$sandbox" = docker ]; then
    if [ -n "$binary" ]; then step "The image for sandboxes"; fi
    echo "\$ docker/python/build.sh    # its output: $logs/image.log"
    start_job "The image for sandboxes" "$logs/image.log" make_image
fi

# Sets `state` to what is under way, as one line.
tell_jobs() {
    local passed=$1 index line
    line=$(duration "$passed")
    for index in "${!job_names[@]}"; do
        if [ -n "${job_ends[index]}" ]; then continue; fi
        state="the image is being made"
        if [ "${job_names[index]}" = "The build" ]; then build_state "${job_logs[index]}" "$passed"; fi
        line="$line · $state"
    done
    state=$line
}

trap 'stop_jobs' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
finish_jobs tell_jobs || exit 1
trap - EXIT
for index in "${!job_names[@]}"; do echo "${job_names[index]}: done after $(duration "${job_ends[index]}")"; done
if [ "$sandbox" = docker ]; then
    grep '^Docker is running' "$logs/image.log" || true
    echo "Docker $(docker version --format '{{.Server.Version}}')"
else
    /usr/bin/bwrap --version
fi
# The way to the program, for this script and for the lines that README shows next.
mkdir -p "$dir/bin"
ln -sfn "$(realpath "$bin")" "$dir/bin/plugbay"
bin_path=$(realpath "$dir/bin")
PATH=$bin_path:$PATH
printf '%s\n' "\$ export PATH=\"$bin_path:\$PATH\""

# -- The service --------------------------------------------------------------------------------------------------

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
    run --briefly plugbay pack "$example" --output "$archive"
    digest=sha256:$(sha256sum "$archive" | cut -d ' ' -f 1)
    version=$(sed -n 's/^version: *\([^ #]*\).*/\1/p' "$example/plugin.yaml")
}

step "The author's side: a key, a plugin, a signed archive"
if [ -e "$key.key" ] && [ -e "$key.pub" ]; then
    echo "The key of an earlier run is used: $key.key"
else
    rm -f "$key.key" "$key.pub"
    run --briefly plugbay keygen --no-password --output "$key"
fi
answer=
if [ -e "$example/plugin.yaml" ]; then
    echo "The plugin of an earlier run is used: $example/"
else
    run --briefly plugbay init "$example"
    answer="Hello, Ada!"
fi
pack
if plugbay --json show hello >"$dir/show.json" 2>/dev/null && [ "$(field "$dir/show.json" version)" = "$version" ] &&
    [ "$(field "$dir/show.json" digest)" != "$digest" ]; then
    next=${version%.*}.$((${version##*.} + 1))
    echo "hello $version is installed with other bytes, so this is $next."
    run sed -i "s/^version: .*/version: $next/" "$example/plugin.yaml"
    pack
fi
run --briefly plugbay sign "$archive" --key "$key.key"

step "The operator's side: trust the author's key, install"
run plugbay install "$archive" --trust "$key.pub" --or-update

step "Run it in a sandbox"
context='{"message":"Hello","user":"Ada"}'
run plugbay enable hello
run plugbay exec hello "$context"
run plugbay list

plugbay --json show hello >"$dir/show.json"
plugbay --json list >"$dir/list.json"
plugbay --json exec hello "$context" >"$dir/exec.json"
python3 -B scripts/lib/quickstart.py check "$dir" "$version" "$digest" "$answer" || fail "the demonstration did not work"

step "It worked"
isolation=$(field "$dir/show.json" isolation)
case $engine in
'' | auto) why=$(python3 -B scripts/lib/quickstart.py why "$log") ;;
*) why="--engine $engine was said" ;;
esac
echo "hello $version is signed and installed, and it answered from its sandbox."
echo "Isolation: $isolation ($why)"
if [ "$mode" = once ]; then exit 0; fi
cat <<NEXT
The service runs at $url (process $(cat "$pid_file")); API documentation: $url/docs

Try next:
  export PATH="$bin_path:\$PATH"    # plugbay, also for the lines of README
  export PLUGBAY_URL=$url PLUGBAY_DATA_DIR="$(realpath "$data")"
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
