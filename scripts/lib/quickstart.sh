# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # The variables are those of quickstart.sh.
# The service of quickstart.sh, sourced by it: find the one of an earlier run, start one, stop it.

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

answers() {
    python3 - "$1/readyz" <<'PYTHON' 2>/dev/null
import sys, urllib.request
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
sys.exit(0 if opener.open(sys.argv[1], timeout=5).status == 200 else 1)
PYTHON
}

start_service() {
    local serve=(plugbay serve --data-dir "$data" --config "$dir/plugbay.yaml" --listen 127.0.0.1:0)
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
