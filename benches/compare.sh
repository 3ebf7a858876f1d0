#!/usr/bin/env bash
# Runs Tapline and other flow meters over the same traces, in turns, and prints packets per CPU second.
# What is compared and how to read it: BENCHMARKING.md. Settings: the variables just below. Everything stays in .bench/.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

RUNS=${RUNS:-3}                           # counted runs of every tool, after one warm-up
LIMIT=${LIMIT:-600}                       # seconds after which a run is stopped
TRACES=${TRACES:-"small big flood"}       # which traces to run
TRACE_INPUT=${TRACE_INPUT:-tests/golden}  # folder of small captures (*.pcap) to grow the traces from
SMALL_PACKETS=${SMALL_PACKETS:-250000}
BIG_PACKETS=${BIG_PACKETS:-4500000}
FLOOD_PACKETS=${FLOOD_PACKETS:-500000}    # argus takes about 2.7 KiB of memory for each
SEED=${SEED:-1}
SMALL_TRACE=${SMALL_TRACE:-}              # a ready trace instead of a grown one
BIG_TRACE=${BIG_TRACE:-}
FLOOD_TRACE=${FLOOD_TRACE:-}
INSTALL=${INSTALL:-1}                     # 0: leave out the tools that are not there
NFSTREAM=6.6.0

BENCH=.bench
WORK=$BENCH/work
RAW=$BENCH/compare-runs.tsv
TABLE=$BENCH/compare.tsv
TAPLINE=target/dist/tapline
PYTHON=$BENCH/venv/bin/python

say() { printf '%s\n' "$*" >&2; }
die() { say "compare: $*"; exit 1; }

# ---- Tools ----

install_tools() {
    local packages=() package sudo=()
    for package in nfdump softflowd argus-server argus-client python3-venv time; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || packages+=("$package")
    done
    if ((${#packages[@]})); then
        [ "$(id -u)" = 0 ] || sudo=(sudo)
        say "installing ${packages[*]}"
        "${sudo[@]}" apt-get update -qq
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${packages[@]}" >/dev/null
    fi
    if ! "$PYTHON" -c "import nfstream; assert nfstream.__version__ == '$NFSTREAM'" 2>/dev/null; then
        say "installing nfstream $NFSTREAM"
        python3 -m venv "$BENCH/venv"
        "$PYTHON" -m pip install --quiet "nfstream==$NFSTREAM"
    fi
}

build() {
    say "building tapline"
    cargo build --quiet --profile dist --bin tapline
    # The trace maker needs the standard library only: one compiler call instead of a second build of everything.
    rustc --edition 2024 -O -o "$BENCH/trace" benches/trace.rs
}

# What the figures were taken with.
describe_machine() {
    sed -n 's/^model name[^:]*: /processor: /p' /proc/cpuinfo | sort | uniq -c | sed 's/^ *//'
    sed -n 's/^MemTotal: */memory: /p' /proc/meminfo
    printf 'kernel: %s\n' "$(uname -sr)"
    printf 'compiler: %s\n' "$(rustc --version)"
    "$TAPLINE" --version
    dpkg-query -W -f '${Package}: ${Version}\n' nfdump softflowd argus-server 2>/dev/null || true
    printf 'nfstream: %s\n' "$NFSTREAM"
    printf 'load before: %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)"
}

# ---- Traces ----

# make_trace NAME READY PARAMETERS...: prints the path. A kept trace is used again if its parameters were the same.
make_trace() {
    local name=$1 ready=$2 path=$BENCH/$1.pcap
    shift 2
    if [ -n "$ready" ]; then
        [ -r "$ready" ] || die "$ready cannot be read"
        printf '%s\n' "$ready"
        return
    fi
    local stamp
    stamp="$* $(cksum <benches/trace.rs)"
    if [ ! -r "$path" ] || [ "$(cat "$path.made" 2>/dev/null)" != "$stamp" ]; then
        say "making $path"
        rm -f "$path.made"
        "$BENCH/trace" "$@" -o "$path" >"$BENCH/trace.log" 2>&1 || die "$(tail -n 1 "$BENCH/trace.log")"
        printf '%s\n' "$stamp" >"$path.made"
    fi
    printf '%s\n' "$path"
}

grow_options() {
    # The project's own captures hold a few flows each, so many copies of them run side by side.
    [ "$TRACE_INPUT" != tests/golden ] || printf '%s\n' --lanes 200 --max-span 600
}

# ---- The tools, one function each: run over $1, leave the count of packets that the tool gives in $WORK/counted ----

# All of them process the whole file, write what they make of it, and send nothing but to the loopback address.
tool_tapline_csv() { replay "$1" 1 csv; }
tool_tapline_csv_2() { replay "$1" 2 csv; }
tool_tapline_none() { replay "$1" 1 none; }

replay() {
    measure "$TAPLINE" replay --quiet --workers "$2" --format "$3" -o "$WORK/rows.csv" --stats "$WORK/stats.json" "$1"
    [ "$STATUS" = 0 ] || return 0
    sed -n 's/.*"in_emitted_flows": *\([0-9]*\).*/\1/p' "$WORK/stats.json" >"$WORK/counted"
}

# One flow file for the whole trace would need one time slot; nfpcapd cuts it into slots of 5 minutes of packet time.
tool_nfpcapd() {
    mkdir -p "$WORK/nfpcapd"
    measure nfpcapd -r "$1" -w "$WORK/nfpcapd"
    [ "$STATUS" = 0 ] && [ -n "$COUNT" ] || return 0
    nfdump -R "$WORK/nfpcapd" -I 2>/dev/null | sed -n 's/^Packets: //p' >"$WORK/counted"
}

# Version 9 records carry IPv6 flows too. Without "-c none" version 1.1.0 can wait for ever on its control socket.
# Nothing listens on the port.
tool_softflowd() {
    measure softflowd -d -c none -p "$WORK/softflowd.pid" -v 9 -m 1000000 -n 127.0.0.1:9995 -r "$1"
    [ "$STATUS" = 0 ] || return 0
    sed -n 's/^Packets processed: //p' "$WORK/log" >"$WORK/counted"
}

# Version 3.0.8.2 can abort on other protocols, hence the filter. -X: without the system's configuration file.
tool_argus() {
    local out=/dev/null
    [ -z "$COUNT" ] || out=$WORK/argus.out
    measure argus -X -r "$1" -w "$out" - 'tcp or udp or icmp'
    [ "$STATUS" = 0 ] && [ -n "$COUNT" ] || return 0
    racount -r "$out" | awk '$1 == "sum" { print $3 }' >"$WORK/counted"
}

tool_nfstream() {
    measure "$PYTHON" "$WORK/run_nfstream.py" "$1"
    [ "$STATUS" = 0 ] || return 0
    tail -n 1 "$WORK/log" >"$WORK/counted"
}

write_nfstream_script() {
    cat >"$WORK/run_nfstream.py" <<'PY'
import sys

from nfstream import NFStreamer

if __name__ == "__main__":
    packets = 0
    for flow in NFStreamer(source=sys.argv[1], statistical_analysis=True, n_dissections=0):
        packets += flow.bidirectional_packets
    print(packets)
PY
}

available() {
    case $1 in
        tapline_*) [ -x "$TAPLINE" ] ;;
        nfstream) [ -x "$PYTHON" ] && "$PYTHON" -c 'import nfstream' 2>/dev/null ;;
        *) command -v "$1" >/dev/null ;;
    esac
}

# ---- Measuring ----

# measure COMMAND...: sets SECONDS_CPU, SECONDS_WALL, PEAK_KIB and STATUS.
# The shell's `time` gives CPU time to the millisecond, of the command and of every child it waited for; GNU time gives
# the peak resident memory of the largest process.
measure() {
    local TIMEFORMAT='%U %S %R' user system
    STATUS=0
    { time timeout -k 10 "$LIMIT" /usr/bin/time -q -f %M -o "$WORK/peak" "$@" >"$WORK/log" 2>&1 </dev/null; } \
        2>"$WORK/time" || STATUS=$?
    read -r user system SECONDS_WALL < <(tail -n 1 "$WORK/time")
    SECONDS_CPU=$(awk -v u="$user" -v s="$system" 'BEGIN { printf "%.3f", u + s }')
    PEAK_KIB=$(tail -n 1 "$WORK/peak" 2>/dev/null || true)
}

# run_trace NAME PATH TOOL...: the tools in turns, so that a slow minute of the machine hits all of them.
run_trace() {
    local name=$1 path=$2 packets run tool
    shift 2
    packets=$("$BENCH/trace" info "$path" | cut -f1)
    local -A given_up=()
    for ((run = 0; run <= RUNS; run++)); do
        for tool in "$@"; do
            [ -z "${given_up[$tool]:-}" ] || continue
            COUNT=
            [ "$run" -gt 0 ] || COUNT=1
            rm -rf "$WORK/nfpcapd" "$WORK/rows.csv" "$WORK/argus.out" "$WORK/counted" "$WORK/peak" "$WORK/stats.json"
            "tool_$tool" "$path"
            if [ "$STATUS" -ne 0 ]; then
                given_up[$tool]=1
                say "$name $tool: stopped with status $STATUS (124: the limit of $LIMIT s)"
                [ "$STATUS" -eq 124 ] || tail -n 3 "$WORK/log" >&2
            fi
            say "$name run $run $tool: $SECONDS_CPU s CPU, $SECONDS_WALL s"
            printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$tool" "$run" "$packets" "$SECONDS_CPU" \
                "$SECONDS_WALL" "${PEAK_KIB:-0}" "$STATUS" "$(cat "$WORK/counted" 2>/dev/null)" >>"$RAW"
        done
    done
}

# Medians of the counted runs; the ratio says how many times the CPU seconds of `tapline_csv` a tool takes.
summarise() {
    awk -F '\t' -v OFS='\t' -v limit="$LIMIT" '
        function median(list, n, values, i, j, swap) {
            n = split(list, values, " ")
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && values[j - 1] + 0 > values[j] + 0; j--) {
                    swap = values[j]; values[j] = values[j - 1]; values[j - 1] = swap
                }
            return n % 2 ? values[(n + 1) / 2] : (values[n / 2] + values[n / 2 + 1]) / 2
        }
        NR == 1 { next }
        {
            key = $1 SUBSEP $2
            if (!(key in packets)) { order[++keys] = key; packets[key] = $4 }
            if ($8 != 0) failed[key] = $8 == 124 ? "more than " limit " s" : "failed (" $8 ")"
            if ($3 == 0) { counted[key] = $9; next }
            runs[key]++
            cpu[key] = cpu[key] " " $5
            wall[key] = wall[key] " " $6
            if ($7 > peak[key]) peak[key] = $7
            if (!(key in least) || $5 < least[key]) least[key] = $5
            if ($5 > most[key]) most[key] = $5
        }
        END {
            print "trace", "tool", "runs", "packets", "counted by tool", "CPU s", "CPU s range", "packets/CPU s", \
                "ratio", "wall s", "peak MiB"
            for (k = 1; k <= keys; k++) {
                key = order[k]
                split(key, part, SUBSEP)
                if (key in failed || !runs[key]) {
                    print part[1], part[2], runs[key] + 0, packets[key], "-", failed[key], "-", "-", "-", "-", "-"
                    continue
                }
                ours = part[1] SUBSEP "tapline_csv"
                c = median(cpu[key])
                ratio = ours in cpu && !(ours in failed) ? sprintf("%.2f", c / median(cpu[ours])) : "-"
                print part[1], part[2], runs[key], packets[key], counted[key] == "" ? "-" : counted[key], \
                    sprintf("%.3f", c), least[key] "-" most[key], sprintf("%.0f", packets[key] / c), ratio, \
                    sprintf("%.3f", median(wall[key])), sprintf("%.1f", peak[key] / 1024)
            }
        }' "$RAW"
}

# ---- The programme ----

mkdir -p "$WORK"
if [ "$INSTALL" = 1 ]; then
    command -v apt-get >/dev/null || die "no apt-get; install nfdump, softflowd, argus and GNU time, then set INSTALL=0"
    install_tools
fi
[ -x /usr/bin/time ] || die "GNU time is missing (package time)"
build
write_nfstream_script
describe_machine >"$BENCH/machine.txt"

printf 'trace\ttool\trun\tpackets\tcpu_s\twall_s\tpeak_kib\tstatus\tcounted\n' >"$RAW"
mapfile -t options < <(grow_options)
for trace in $TRACES; do
    tools=(tapline_csv)
    case $trace in
        small)
            path=$(make_trace small "$SMALL_TRACE" grow --input "$TRACE_INPUT" --packets "$SMALL_PACKETS" \
                --seed "$SEED" --pad "${options[@]}")
            # nfstream is too slow for the others; its ratio is taken on the trace it can finish.
            tools+=(nfstream)
            ;;
        big)
            path=$(make_trace big "$BIG_TRACE" grow --input "$TRACE_INPUT" --packets "$BIG_PACKETS" \
                --seed "$SEED" --pad "${options[@]}")
            tools+=(tapline_none tapline_csv_2 nfpcapd softflowd argus)
            ;;
        flood)
            path=$(make_trace flood "$FLOOD_TRACE" flood --packets "$FLOOD_PACKETS" --seed "$SEED")
            tools+=(tapline_none tapline_csv_2 nfpcapd softflowd argus)
            ;;
        *) die "TRACES: '$trace' is none of small, big, flood" ;;
    esac
    present=()
    for tool in "${tools[@]}"; do
        if available "$tool"; then present+=("$tool"); else say "$tool is not there: left out"; fi
    done
    run_trace "$trace" "$path" "${present[@]}"
done
rm -rf "$WORK/nfpcapd" "$WORK/rows.csv" "$WORK/argus.out"

summarise >"$TABLE"
if command -v column >/dev/null; then column -t -s "$(printf '\t')" "$TABLE"; else cat "$TABLE"; fi
printf 'load after: %s\n' "$(cut -d ' ' -f 1-3 /proc/loadavg)" >>"$BENCH/machine.txt"
say "kept: $TABLE (medians), $RAW (every run), $BENCH/machine.txt"
