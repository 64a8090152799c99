# shellcheck shell=bash
# Docker for scripts, sourced by them: is it there, and if not, install and start it or say which command does.

# The service talks to this socket unless its settings name another one, and so must scripts, whatever `docker context`
# says.
: "${docker_socket:=/var/run/docker.sock}"
: "${docker_pid_file:=/var/run/docker.pid}"
: "${docker_log:=/var/log/plugbay-dockerd.log}"
export DOCKER_HOST=${DOCKER_HOST:-unix://$docker_socket}
case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac

# True if the engine answers this user.
docker_ready() { [ -n "$(timeout 10 docker version --format '{{.Server.Version}}' 2>/dev/null)" ]; }

_sudo() { if [ "$(id -u)" != 0 ]; then echo "sudo "; fi; }

# install_packages MAY_INSTALL PACKAGE…: installs them as root on Debian and Ubuntu; otherwise prints the command and fails.
install_packages() {
    local may_install=$1 sudo
    shift
    sudo=$(_sudo)
    if ! command -v apt-get >/dev/null; then
        echo "error: missing: $*. Install them with this system's package manager; the names are Debian's." >&2
        return 1
    elif [ "$may_install" = no ] || [ "$(id -u)" != 0 ]; then
        printf 'error: missing: %s. Install with:\n  %s\n' "$*" \
            "${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends $*" >&2
        return 1
    fi
    echo "Installing $* …"
    apt-get update -q </dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends "$@" </dev/null
}

# Packages that are needed for an engine on this machine, one per line.
_docker_missing() {
    if ! command -v dockerd >/dev/null; then printf '%s\n' docker.io iptables; fi
    # Newer releases of Debian have the client in a package of its own.
    if ! command -v docker >/dev/null && command -v apt-cache >/dev/null &&
        apt-cache show docker-cli 2>/dev/null | grep -q '^Package: docker-cli$'; then
        echo docker-cli
    elif ! command -v docker >/dev/null && command -v dockerd >/dev/null; then
        echo docker.io
    fi
}

_has_systemd() { [ -d /run/systemd/system ]; }

# Prints why the engine does not answer, and the command that helps.
docker_advice() {
    local sudo missing
    sudo=$(_sudo)
    mapfile -t missing < <(_docker_missing)
    if [ "$DOCKER_HOST" != "unix://$docker_socket" ]; then
        echo "Docker does not answer at $DOCKER_HOST. Correct DOCKER_HOST, or unset it."
    elif [ ${#missing[@]} -gt 0 ] && ! command -v apt-get >/dev/null; then
        echo "Docker is not installed. Install Docker 20.10 or newer with this system's package manager."
    elif [ ${#missing[@]} -gt 0 ]; then
        printf 'Docker is not installed. Install it with:\n  %s\n' \
            "${sudo}apt-get update && ${sudo}apt-get install -y --no-install-recommends ${missing[*]}"
    elif [ -S "$docker_socket" ] && [ ! -w "$docker_socket" ]; then
        printf 'You may not use %s. Either run this with sudo, or join the group docker and log in again:\n  %s\n' \
            "$docker_socket" "sudo usermod -aG docker $(id -un)"
    elif _has_systemd; then
        printf 'Docker does not answer at %s. Start it with:\n  %s\n' "$docker_socket" "${sudo}systemctl start docker"
    else
        printf 'Docker does not answer at %s. Start it with:\n  %s\n' "$docker_socket" \
            "${sudo}sh -c 'setsid dockerd >$docker_log 2>&1 </dev/null &'"
    fi
}

# A pid file that names another process, or none, keeps the engine from starting: after a crash, and in containers, where
# numbers come again.
_drop_stale_pid_file() {
    local pid
    pid=$(cat "$docker_pid_file" 2>/dev/null) || return 0
    if [ "$(cat "/proc/$pid/comm" 2>/dev/null)" != dockerd ]; then rm -f "$docker_pid_file"; fi
}

# _run_dockerd OPTION…: starts the engine in a session of its own and waits for its socket.
_run_dockerd() {
    local pid
    _drop_stale_pid_file
    setsid dockerd "$@" >"$docker_log" 2>&1 </dev/null &
    pid=$!
    for _ in $(seq 300); do
        if docker_ready; then
            echo "Docker is running (process $pid), and stays so. Its log: $docker_log; stop it with: kill $pid"
            return 0
        fi
        kill -0 "$pid" 2>/dev/null || return 1
        sleep 0.2
    done
    kill "$pid" 2>/dev/null || true
    return 1
}

_start_docker() {
    if _has_systemd; then
        echo "Starting Docker: systemctl start docker"
        systemctl start docker || return 1
        for _ in $(seq 300); do
            if docker_ready; then return 0; fi
            sleep 0.2
        done
        echo "error: Docker does not answer 60 seconds after its start; see: journalctl -u docker" >&2
        return 1
    fi
    echo "Starting Docker: dockerd, its log in $docker_log"
    if _run_dockerd; then return 0; fi
    # Kernels without NAT cannot give Docker its bridge. Sandboxes have no network, so none is needed.
    if grep -qiE 'iptables|bridge|network controller' "$docker_log"; then
        cp "$docker_log" "$docker_log.1"
        echo "That failed at networking (see $docker_log.1); starting it without any."
        if _run_dockerd --iptables=false --ip6tables=false --bridge=none; then return 0; fi
    fi
    tail -n 15 "$docker_log" >&2
    echo "error: dockerd did not start; its log: $docker_log" >&2
    return 1
}

# ensure_docker MAY_INSTALL: afterwards the engine answers; or what to do was printed, and the result is 1.
ensure_docker() {
    local may_install=$1 missing
    if docker_ready; then return 0; fi
    if [ "$DOCKER_HOST" != "unix://$docker_socket" ] || [ "$(id -u)" != 0 ]; then
        echo "error: $(docker_advice)" >&2
        return 1
    fi
    mapfile -t missing < <(_docker_missing)
    if [ ${#missing[@]} -gt 0 ]; then
        install_packages "$may_install" "${missing[@]}" || return 1
        # Before `apt-get update` it was perhaps not known that the client is a package of its own.
        mapfile -t missing < <(_docker_missing)
        if [ ${#missing[@]} -gt 0 ]; then install_packages "$may_install" "${missing[@]}" || return 1; fi
        # The package may have started it.
        if docker_ready; then return 0; fi
    fi
    _start_docker
}
