# shellcheck shell=bash
# bubblewrap for scripts, sourced by them after docker.sh: what the process engine needs, installed or named; and a machine
# without Docker, for tests of it.

# ensure_bubblewrap MAY_INSTALL: afterwards the process engine can be tried; or what to do was printed, and the result is 1.
ensure_bubblewrap() {
    local may_install=$1
    if [ "$(id -u)" != 0 ]; then
        echo "error: the process engine needs root, to give each plugin a user of its own; run this with sudo" >&2
        return 1
    fi
    if [ -x /usr/bin/bwrap ]; then return 0; fi
    install_packages "$may_install" bubblewrap
}

# hide_docker COMMAND…: runs it where nobody finds Docker: neither programs nor sockets. The engine itself notices nothing.
hide_docker() {
    # shellcheck disable=SC2016 # The inner shell expands them.
    unshare --mount bash -euc '
        nothing=$(mktemp)
        for hidden in /run/docker.sock /var/run/docker.sock "$(command -v docker)" "$(command -v dockerd)"; do
            if [ -e "$hidden" ] && ! [ "$hidden" -ef "$nothing" ]; then mount --bind "$nothing" "$hidden"; fi
        done
        rm "$nothing"
        exec "$@"' hide_docker "$@"
}
