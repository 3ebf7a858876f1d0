#!/usr/bin/env bash
# Shows how Tapline scales: time and memory over growing traces, one and two workers, memory for each live flow, and
# whether the rows are the same bytes for any number of workers. Settings: the variables just below.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

RUNS=${RUNS:-3}                           # runs of each kind; the median counts
LIMIT=${LIMIT:-600}                       # seconds after which a run is stopped
TRACE_INPUT=${TRACE_INPUT:-tests/golden}  # folder of small captures (*.pcap) to grow the traces from
PACKETS=${PACKETS:-250000}                # size of the trace called 1x, at least
FACTORS=${FACTORS:-"1 4 16"}
FLOOD_PACKETS=${FLOOD_PACKETS:-500000}    # the smaller flood; the larger one is four times that
WORKERS=${WORKERS:-"1 2 4 8"}             # whose rows must be the same bytes
SCHEMAS=${SCHEMAS:-"tapline-1 cic-2018 cic-head cic-gints"}
SEED=${SEED:-1}

BENCH=.bench
WORK=$BENCH/work
TABLE=$BENCH/scale.tsv
TAPLINE=target/dist/tapline

say() { printf '%s\n' "$*" >&2; }
die() { say "scale: $*"; exit 1; }

# run_once OPTIONS...: sets CPU_S, WALL_S, PEAK_KIB, LIVE (the most flows held at once) and SEEN (packets).
run_once() {
    local TIMEFORMAT='%U %S %R' user system status=0
    { time timeout -k 10 "$LIMIT" /usr/bin/time -q -f %M -o "$WORK/peak" \
        "$TAPLINE" replay --quiet --stats "$WORK/stats.json" "$@" >"$WORK/log" 2>&1 </dev/null; } \
        2>"$WORK/time" || status=$?
    [ "$status" = 0 ] || die "tapline replay $*: status $status (124: the limit of $LIMIT s): $(tail -n 1 "$WORK/log")"
    read -r user system WALL_S < <(tail -n 1 "$WORK/time")
    CPU_S=$(awk -v u="$user" -v s="$system" 'BEGIN { print u + s }')
    PEAK_KIB=$(tail -n 1 "$WORK/peak")
    LIVE=$(stat_of peak)
    SEEN=$(stat_of seen)
}

stat_of() { sed -n "s/.*\"$1\": *\([0-9]*\).*/\1/p" "$WORK/stats.json" | head -n 1; }

median() {
    tr ' ' '\n' | grep . | sort -n |
        awk '{ v[NR] = $1 } END { print (v[int((NR + 1) / 2)] + v[int(NR / 2) + 1]) / 2 }'
}

# run_median OPTIONS...: RUNS times; times are medians, memory is the largest seen.
run_median() {
    local run cpus='' walls='' peak=0
    for ((run = 0; run < RUNS; run++)); do
        run_once "$@"
        cpus+=" $CPU_S"
        walls+=" $WALL_S"
        ((PEAK_KIB <= peak)) || peak=$PEAK_KIB
    done
    CPU_S=$(median <<<"$cpus")
    WALL_S=$(median <<<"$walls")
    PEAK_KIB=$peak
}

row() { (IFS=$'\t'; printf '%s\n' "$*") >>"$TABLE"; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.2f", (b > 0 ? a / b : 0) }'; }
mib() { awk -v k="$1" 'BEGIN { printf "%.1f", k / 1024 }'; }

print_table() {
    printf '\n%s\n' "$1"
    if command -v column >/dev/null; then column -t -s "$(printf '\t')" "$TABLE"; else cat "$TABLE"; fi
    { printf '# %s\n' "$1"; cat "$TABLE"; printf '\n'; } >>"$TABLE.all"
    : >"$TABLE"
}

[ -x /usr/bin/time ] || die "GNU time is missing (package time)"
mkdir -p "$WORK"
: >"$TABLE"
: >"$TABLE.all"
say "building tapline"
cargo build --quiet --profile dist --bin tapline
rustc --edition 2024 -O -o "$BENCH/trace" benches/trace.rs

# ---- Longer traces ----

options=()
[ "$TRACE_INPUT" != tests/golden ] || options=(--lanes 200 --max-span 600)
grow() {
    "$BENCH/trace" grow --input "$TRACE_INPUT" --seed "$SEED" --pad "${options[@]}" "$@" >"$WORK/log" 2>&1 ||
        die "$(tail -n 1 "$WORK/log")"
}

say "making the trace 1x"
grow --packets "$PACKETS" -o "$BENCH/scale-1x.pcap"
unit=$("$BENCH/trace" info "$BENCH/scale-1x.pcap" | cut -f1)

row size packets 'most flows at once' 'CPU s (1)' 'wall s (1)' 'peak MiB (1)' 'CPU s (2)' 'wall s (2)' \
    'peak MiB (2)' 'wall (1)/(2)'
for factor in $FACTORS; do
    trace=$BENCH/scale-${factor}x.pcap
    if [ "$factor" != 1 ]; then
        say "making the trace ${factor}x"
        # A multiple of whole copies, so exactly this many times the packets.
        grow --packets $((unit * factor)) -o "$trace"
    fi
    cat "$trace" >/dev/null
    say "running ${factor}x"
    run_median --workers 1 --format csv -o "$WORK/rows.csv" "$trace"
    one=("$CPU_S" "$WALL_S" "$(mib "$PEAK_KIB")")
    live=$LIVE
    run_median --workers 2 --format csv -o "$WORK/rows.csv" "$trace"
    row "${factor}x" "$SEEN" "$live" "${one[@]}" "$CPU_S" "$WALL_S" "$(mib "$PEAK_KIB")" \
        "$(ratio "${one[1]}" "$WALL_S")"
    rm -f "$WORK/rows.csv"
    [ "$factor" = 1 ] || rm -f "$trace"
done
print_table "Longer traces, csv; (1) and (2) are the numbers of workers"

# ---- Memory for each live flow ----

# The table doubles its room when full; sizes a factor of four apart find it equally full, so the difference is fair.
large=$((FLOOD_PACKETS * 4))
declare -a live_at peak_at
row packets 'most flows at once' 'peak MiB'
for packets in "$FLOOD_PACKETS" "$large"; do
    say "flood of $packets"
    "$BENCH/trace" flood --packets "$packets" --seed "$SEED" -o "$BENCH/scale-flood.pcap" >/dev/null
    # The limit holds for each part of the table by itself; twice the flows leave room for uneven parts.
    run_median --workers 1 --format none --max-flows $((large * 2)) "$BENCH/scale-flood.pcap"
    live_at+=("$LIVE")
    peak_at+=("$PEAK_KIB")
    row "$packets" "$LIVE" "$(mib "$PEAK_KIB")"
done
rm -f "$BENCH/scale-flood.pcap"
bytes=$(ratio $(((peak_at[1] - peak_at[0]) * 1024)) $((live_at[1] - live_at[0])))
print_table "Floods, every packet a flow: $bytes bytes of resident memory for each further live flow"

# ---- The same bytes ----

row schema workers bytes 'as with the first'
different=0
for schema in $SCHEMAS; do
    first=
    for workers in $WORKERS; do
        run_once --schema "$schema" --workers "$workers" --format csv -o "$WORK/rows-$workers.csv" \
            "$BENCH/scale-1x.pcap"
        same=yes
        if [ -z "$first" ]; then
            first=$workers
        elif ! cmp -s "$WORK/rows-$first.csv" "$WORK/rows-$workers.csv"; then
            same=NO
            different=1
        fi
        row "$schema" "$workers" "$(wc -c <"$WORK/rows-$workers.csv")" "$same"
        [ "$workers" = "$first" ] || rm -f "$WORK/rows-$workers.csv"
    done
    rm -f "$WORK/rows-$first.csv"
done
print_table "Rows for different numbers of workers"

mv "$TABLE.all" "$TABLE"
say "kept: $TABLE"
[ "$different" = 0 ] || die "the rows depend on the number of workers"
