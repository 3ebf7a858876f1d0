#!/usr/bin/env bash
# Sends traffic over one veth pair, at stepped rates, past Tapline and other listeners in turns; prints loss and CPU seconds.
# What is compared and how to read it: BENCHMARKING.md. Settings: the variables just below. Everything stays in .bench/.
# Needs root: it makes two network namespaces, in which all traffic stays, and which end with it.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

RATES=${RATES:-"50000 100000 200000 400000 max"} # packets a second
SECONDS_EACH=${SECONDS_EACH:-5}                  # of sending, for each rate and tool
TRAFFIC=${TRAFFIC:-demo}                         # demo: the demonstration capture, again and again; flows: generated; or a pcap
FLOWS=${FLOWS:-100000}                           # of TRAFFIC=flows, few of them with most packets
TOOLS=${TOOLS:-"nobody tcpdump tapline_none tapline_ndjson tapline_scored softflowd nfstream"}
MODEL=${MODEL:-models/default}
MEMORY=${MEMORY:-512MiB}
BUFFER=${BUFFER:-64MiB}                          # between kernel and listener, where it can be set
WORKERS=${WORKERS:-1}
SETTINGS=${SETTINGS:-}                           # more for `tapline run`: --set a.b=c ...
PYTHON=${PYTHON:-.bench/venv/bin/python}         # with nfstream; left out if it has none
TAPLINE=${TAPLINE:-target/release/tapline}
BLAST=${BLAST:-target/release/tapline-blast}

BENCH=.bench
WORK=$PWD/$BENCH/wire
TABLE=$BENCH/wire.tsv

say() { printf '%s\n' "$*" >&2; }
die() { say "wire: $*"; exit 1; }

# ---- Two namespaces and a cable ----

# The script starts itself again in a namespace of its own: that is where the listeners are. The sender's is another.
if [ -z "${TAPLINE_WIRE_INSIDE:-}" ]; then
    [ "$(id -u)" = 0 ] || die "needs root, for network namespaces"
    mkdir -p "$WORK"
    [ -x "$TAPLINE" ] || cargo build --quiet --release --bin tapline
    [ -x "$BLAST" ] || cargo build --quiet --release --package tapline-blast
    export TAPLINE_WIRE_INSIDE=1
    exec unshare --net --mount "$0" "$@"
fi

ENDS=()
clean_up() {
    local pid
    for pid in "${ENDS[@]}"; do kill -KILL "$pid" 2>/dev/null || true; done
}
trap clean_up EXIT
trap 'exit 130' INT TERM

# shellcheck disable=SC2016  # run elsewhere
quiet_ipv6='for scope in all default; do echo 1 >/proc/sys/net/ipv6/conf/$scope/disable_ipv6; done'
mount -t sysfs sysfs /sys 2>/dev/null || true
eval "$quiet_ipv6"
unshare --net sh -c "$quiet_ipv6; exec sleep 36000" &
FAR_PID=$!
ENDS+=("$FAR_PID")
own=$(readlink /proc/self/ns/net)
until [ "$(readlink "/proc/$FAR_PID/ns/net")" != "$own" ]; do sleep 0.05; done
ip link set lo up
ip link add tap0 type veth peer name wire0 netns "$FAR_PID"
ip link set tap0 up
nsenter --target "$FAR_PID" --net ip link set wire0 up
sleep 0.2

rx_packets() { cat /sys/class/net/tap0/statistics/rx_packets; }

# ---- Traffic ----

case $TRAFFIC in
    demo)
        command -v zstd >/dev/null || die "zstd is missing; set TRAFFIC=flows or to a pcap"
        zstd -q -d -f -o "$WORK/demo.pcap" tests/data/demo.pcap.zst
        source_options=(--capture "$WORK/demo.pcap")
        ;;
    flows) source_options=(--flows "$FLOWS" --tuples zipf --bytes 200) ;;
    *)
        [ -r "$TRAFFIC" ] || die "$TRAFFIC cannot be read"
        source_options=(--capture "$TRAFFIC")
        ;;
esac

# send RATE: the sender's report in $WORK/sent.json
send() {
    local pace=()
    [ "$1" = max ] || pace=(--speed-pps "$1")
    nsenter --target "$FAR_PID" --net "$BLAST" --interface wire0 "${source_options[@]}" "${pace[@]}" \
        --count 1000000000 --seconds "$SECONDS_EACH" >"$WORK/sent.json"
}

number() { sed -n "s/.*\"$1\": *\([0-9.]*\).*/\1/p" "$2" | head -n 1; }

# ---- The listeners: start_TOOL leaves its process in $TOOL_PID; stop_TOOL ends it and leaves its count in $WORK/counted ----

# What counts is what a listener took from the kernel, whether it made something of it or not.

# launch COMMAND...: in the background, with its CPU time in $WORK/time at the end.
launch() {
    /usr/bin/time -q -f '%U %S' -o "$WORK/time" "$@" >"$WORK/log" 2>&1 &
    TIME_PID=$!
    ENDS+=("$TIME_PID")
    until TOOL_PID=$(cat "/proc/$TIME_PID/task/$TIME_PID/children" 2>/dev/null) && [ -n "$TOOL_PID" ]; do
        kill -0 "$TIME_PID" 2>/dev/null || die "$1 did not start: $(tail -n 3 "$WORK/log")"
        sleep 0.01
    done
    TOOL_PID=${TOOL_PID%% *}
    ENDS+=("$TOOL_PID")
}

# land: waits for the end of what was launched, which has been asked for.
land() {
    local tries=0
    while kill -0 "$TOOL_PID" 2>/dev/null; do
        if ((++tries == 600)); then
            say "$TOOL does not end and is killed"
            kill -KILL "$TOOL_PID"
        fi
        sleep 0.1
    done
    wait "$TIME_PID" 2>/dev/null || true
}

start_nobody() { launch sleep 36000; }
stop_nobody() { kill "$TOOL_PID"; land; }

start_tcpdump() {
    launch tcpdump -i tap0 -n -B $(($(numfmt --from=auto "${BUFFER%B}") / 1024)) -w /dev/null
    until grep -q listening "$WORK/log"; do sleep 0.05; done
}
stop_tcpdump() {
    kill -INT "$TOOL_PID"
    land
    sed -n 's/^\([0-9]*\) packets\{0,1\} captured.*/\1/p' "$WORK/log" >"$WORK/counted"
}

start_tapline_none() { start_tapline --set rows.format=none; }
start_tapline_ndjson() { start_tapline --set rows.format=ndjson; }
start_tapline_scored() { start_tapline --set rows.format=ndjson --set "scoring.model=$PWD/$MODEL"; }
stop_tapline_none() { stop_tapline; }
stop_tapline_ndjson() { stop_tapline; }
stop_tapline_scored() { stop_tapline; }

start_tapline() {
    rm -rf "$WORK/rows" "$WORK/stats.json"
    mkdir -p "$WORK/rows"
    cat >"$WORK/tapline.toml" <<TOML
[sensor]
memory = "$MEMORY"
workers = $WORKERS
[[interface]]
name = "tap0"
buffer = "$BUFFER"
[rows]
folder = "$WORK/rows"
keep_files = 2
[control]
listen = ""
socket = ""
TOML
    # shellcheck disable=SC2086  # several words on purpose
    launch env -u NOTIFY_SOCKET "$TAPLINE" run -c "$WORK/tapline.toml" --stats "$WORK/stats.json" "$@" $SETTINGS
    # Ready once the interface is promiscuous, and a moment.
    local tries=0
    until [ $(($(cat /sys/class/net/tap0/flags) & 0x100)) -ne 0 ]; do
        kill -0 "$TOOL_PID" 2>/dev/null || die "tapline did not start: $(tail -n 3 "$WORK/log")"
        ((++tries < 400)) || die "tapline is not ready"
        sleep 0.05
    done
    sleep 1
}
stop_tapline() {
    kill -TERM "$TOOL_PID"
    land
    # All that it saw but what it lost.
    awk -F '[:,]' '
        /"(seen|kernel_dropped|ring_dropped)":/ { gsub(/[ "]/, "", $1); n[$1] = $2 }
        END { if ("seen" in n) print n["seen"] - n["kernel_dropped"] - n["ring_dropped"] }' "$WORK/stats.json" >"$WORK/counted"
}

# Records go to a port of the namespace's loopback where nobody listens. A signal would be heeded with the next packet only,
# if at all; its control socket works.
start_softflowd() {
    launch softflowd -d -c "$WORK/softflowd.ctl" -p "$WORK/softflowd.pid" -v 9 -m 1000000 -n 127.0.0.1:9995 -i tap0
    sleep 1
}
stop_softflowd() {
    timeout 10 softflowctl -c "$WORK/softflowd.ctl" statistics >"$WORK/last" || true
    timeout 10 softflowctl -c "$WORK/softflowd.ctl" shutdown >/dev/null || kill -KILL "$TOOL_PID"
    land
    awk '/^Packets processed:/ { n += $3 } /^Ignored packets:/ { n += $3 } END { if (NR) print n }' "$WORK/last" >"$WORK/counted"
}

start_nfstream() {
    cat >"$WORK/listen.py" <<'PY'
from nfstream import NFStreamer

if __name__ == "__main__":
    for flow in NFStreamer(source="tap0", statistical_analysis=True, n_dissections=0, performance_report=1):
        pass
PY
    launch "$PYTHON" -u "$WORK/listen.py"
    local tries=0
    until grep -q packets_processed "$WORK/log"; do
        ((++tries < 400)) || die "nfstream is not ready: $(tail -n 3 "$WORK/log")"
        sleep 0.05
    done
}
stop_nfstream() {
    # It reports once a second. Its processes do not end together when told to.
    sleep 2
    # shellcheck disable=SC2046
    kill -KILL $(family "$TOOL_PID") 2>/dev/null || true
    land
    rm -f "$WORK/time"
    grep packets_processed "$WORK/log" | tail -n 1 >"$WORK/last"
    awk -v processed="$(number packets_processed "$WORK/last")" -v ignored="$(number packets_ignored "$WORK/last")" \
        'BEGIN { print processed + ignored }' >"$WORK/counted"
}

available() {
    case $1 in
        nobody | tapline_*) true ;;
        nfstream) [ -x "$PYTHON" ] && "$PYTHON" -c 'import nfstream' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# ---- Measuring ----

# A process and all its descendants.
family() {
    local child
    printf '%s ' "$1"
    # shellcheck disable=SC2013  # words
    for child in $(cat "/proc/$1/task"/*/children 2>/dev/null); do family "$child"; done
}

# CPU time of a process and its descendants, in clock ticks.
ticks() {
    local pid total=0 stat
    for pid in $(family "$1"); do
        stat=$(cat "/proc/$pid/stat" 2>/dev/null) || continue
        # After the name, which may hold spaces: state is field 3; user and system time are 14 and 15.
        # shellcheck disable=SC2086
        set -- ${stat##*) }
        total=$((total + ${12} + ${13}))
    done
    printf '%s\n' "$total"
}

# Loss is of the frames that the cable took. CPU time is the listener's from when it is ready to its end, writing what it still
# holds included. The time that the kernel needs to bring a frame to a listener is on the sender's account, because on veth the
# sender's system call does it.
measure() {
    local rate=$2 before after sent seconds counted
    TOOL=$1
    rm -f "$WORK/counted" "$WORK/log" "$WORK/time" "$WORK/last"
    "start_$TOOL"
    before=$(ticks "$TOOL_PID")
    send "$rate"
    # What is under way arrives.
    sleep 1.5
    after=$(ticks "$TOOL_PID")
    "stop_$TOOL"
    sent=$(number sent "$WORK/sent.json")
    seconds=$(number seconds "$WORK/sent.json")
    counted=$(cat "$WORK/counted" 2>/dev/null || true)
    awk -v OFS='\t' -v rate="$rate" -v tool="$TOOL" -v sent="$sent" -v seconds="$seconds" -v counted="$counted" \
        -v before="$before" -v after="$after" -v hz="$(getconf CLK_TCK)" \
        -v total="$(tail -n 1 "$WORK/time" 2>/dev/null || true)" 'BEGIN {
            running = (after - before) / hz
            cpu = split(total, part, " ") == 2 ? part[1] + part[2] - before / hz : running
            loss = counted == "" ? "-" : sprintf("%.3f", 100 * (sent - counted) / sent)
            print rate, tool, sprintf("%.0f", sent / seconds), sent, counted == "" ? "-" : counted, loss, \
                sprintf("%.3f", cpu * 1e6 / sent), counted + 0 ? sprintf("%.3f", cpu * 1e6 / counted) : "-", \
                sprintf("%.0f", 100 * running / seconds)
        }' >>"$TABLE"
    say "$(tail -n 1 "$TABLE")"
}

# ---- The programme ----

{
    sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//'
    printf 'kernel: %s\n' "$(uname -sr)"
    "$TAPLINE" --version | head -n 1
    printf 'traffic: %s\nload before: %s\n' "$TRAFFIC" "$(cut -d ' ' -f 1-3 /proc/loadavg)"
} >"$BENCH/wire-machine.txt"
printf 'rate\ttool\tsent/s\tsent\tcounted\tloss %%\tCPU s/M sent\tCPU s/M counted\tCPU %%\n' >"$TABLE"
present=()
for tool in $TOOLS; do
    if available "$tool"; then present+=("$tool"); else say "$tool is not there: left out"; fi
done
for rate in $RATES; do
    for tool in "${present[@]}"; do measure "$tool" "$rate"; done
done
if command -v column >/dev/null; then column -t -s "$(printf '\t')" "$TABLE"; else cat "$TABLE"; fi
say "kept: $TABLE, $BENCH/wire-machine.txt"
