# shellcheck shell=bash
# Long commands side by side, each with its output in a log, and one line on the terminal that tells how far they are.

job_names=()
job_pids=()
job_logs=()
job_ends=()

# start_job NAME LOG COMMAND…: begins it in a process group of its own, so that stop_jobs reaches all that it starts.
start_job() {
    local name=$1 log=$2
    shift 2
    mkdir -p "$(dirname "$log")"
    set -m
    "$@" >"$log" 2>&1 </dev/null &
    set +m
    job_names+=("$name")
    job_pids+=("$!")
    job_logs+=("$log")
    job_ends+=("")
}

# stop_jobs: ends those that still run.
stop_jobs() {
    local index
    for index in "${!job_pids[@]}"; do
        if [ -n "${job_ends[index]}" ]; then continue; fi
        kill -TERM -- "-${job_pids[index]}" 2>/dev/null || true
        wait "${job_pids[index]}" 2>/dev/null || true
    done
    job_pids=()
}

# duration SECONDS: for people.
duration() {
    if [ "$1" -ge 60 ]; then printf '%d min %d s' $(($1 / 60)) $(($1 % 60)); else printf '%d s' "$1"; fi
}

# log_tail LOG: its last lines, without what cargo draws.
log_tail() { tail -c 65536 "$1" | tr '\r' '\n' | grep -vE '^ *(Building \[.*)?$' | tail -n "${2:-20}"; }

# cargo_counts LOG: how many units of the build are done, and of how many; nothing before cargo knows. Only for cargo under
# CARGO_TERM_PROGRESS_WHEN=always.
cargo_counts() {
    tail -c 4096 "$1" 2>/dev/null | tr '\r' '\n' | sed -n 's|.*\] \([0-9]*\)/\([0-9]*\): .*|\1 \2|p' | tail -n 1
}

# build_state LOG SECONDS: sets `state` to a word on a build by cargo that has run so long. Its last two units are the library
# and the program, which take as long as a quarter of all before them.
build_state() {
    local log=$1 passed=$2 built all left
    read -r built all < <(cargo_counts "$log") || true
    if [ -z "${all:-}" ]; then
        state="the build begins"
        return
    fi
    state="build $built of $all"
    # What earlier builds left is counted as done at once, and says nothing about the pace.
    : "${build_fresh:=$built}"
    if [ $((all - built)) -le 2 ]; then
        : "${build_last:=$passed}"
        left=$((build_last / 4 - (passed - build_last)))
    elif [ $((built - build_fresh)) -ge 20 ]; then
        left=$((passed * ((all - build_fresh) * 5 / 4 - (built - build_fresh)) / (built - build_fresh)))
    else
        return
    fi
    # To tens of seconds: it is an estimate.
    state="$state, about $(duration $(((left > 0 ? left : 0) / 10 * 10 + 10))) left"
}

# finish_jobs TELL: waits for all of them. TELL is a function that sets `state` to the line, given the seconds that have
# passed; on a terminal it is drawn anew twice a second, elsewhere printed once a minute. The first job that fails ends the
# others; its log's last lines are printed, and the result is 1.
finish_jobs() {
    local tell=$1 began=$SECONDS index code told=0 open=1
    while [ "$open" = 1 ]; do
        open=0
        for index in "${!job_pids[@]}"; do
            if [ -n "${job_ends[index]}" ]; then continue; fi
            if kill -0 "${job_pids[index]}" 2>/dev/null; then
                open=1
                continue
            fi
            code=0
            wait "${job_pids[index]}" || code=$?
            job_ends[index]=$((SECONDS - began))
            if [ "$code" = 0 ]; then continue; fi
            _clear_line
            stop_jobs
            {
                echo "error: ${job_names[index]} failed with exit code $code. The end of its log:"
                log_tail "${job_logs[index]}" | sed 's/^/  /'
                echo "All of it: ${job_logs[index]}"
            } >&2
            return 1
        done
        if [ "$open" = 0 ]; then break; fi
        "$tell" $((SECONDS - began))
        if [ -t 1 ]; then
            printf '\r\033[K%.100s' "$state"
        elif [ $((SECONDS - began)) -ge $((told + 60)) ]; then
            told=$((told + 60))
            echo "$state"
        fi
        sleep 0.5
    done
    _clear_line
}

_clear_line() { if [ -t 1 ]; then printf '\r\033[K'; fi; }
