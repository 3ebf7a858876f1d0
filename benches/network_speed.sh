#!/usr/bin/env bash
# Scores and learns with Tapline's network, PyTorch's and ONNX Runtime's, the same weights and inputs, one thread each, in
# turns, and prints windows per CPU second. Settings: the variables just below. Everything stays in .bench/.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."

ROUNDS=${ROUNDS:-5}            # rounds; the median counts
SECONDS_EACH=${SECONDS_EACH:-1}  # CPU seconds of each figure in a round
WINDOWS=${WINDOWS:-512}        # windows of a batch when scoring
PYTHON=${PYTHON:-.bench/network-venv/bin/python}  # with torch, onnx, onnxruntime; made if it is not there

BENCH=.bench
export RAYON_NUM_THREADS=1 OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

mkdir -p "$BENCH"
if [ ! -x "$PYTHON" ]; then
    python3 -m venv "$BENCH/network-venv"
    "$BENCH/network-venv/bin/pip" install --quiet torch onnx onnxruntime numpy
fi
cargo build --quiet --release -p tapline-score --example network_speed
program=${CARGO_TARGET_DIR:-target}/release/examples/network_speed

for what in speed training; do
    raw=$BENCH/network-$what.txt
    : > "$raw"
    for ((round = 0; round < ROUNDS; round++)); do
        "$program" "$what" "$SECONDS_EACH" "$WINDOWS" >> "$raw"
        "$PYTHON" benches/network_reference.py "$what" --seconds "$SECONDS_EACH" --windows "$WINDOWS" >> "$raw"
    done
    "$PYTHON" - "$what" "$raw" <<'END'
import statistics
import sys

what, path = sys.argv[1:]
rates = {}
for line in open(path):
    name, shape, steps, rate = line.split()
    rates.setdefault((shape, steps), {}).setdefault(name, []).append(float(rate))
names = ["tapline", "tapline-candle", "pytorch", "onnxruntime"]
names = [name for name in names if any(name in of for of in rates.values())]
print(f"{what}, windows per CPU second: median (least, most), and how many times as many Tapline's are")
for (shape, steps), of in rates.items():
    print(f"{shape}, {steps} steps")
    ours = statistics.median(of["tapline"])
    for name in names:
        all_of = of[name]
        median = statistics.median(all_of)
        print(f"  {name:15} {median:10.0f} ({min(all_of):.0f}, {max(all_of):.0f})  x {ours / median:.2f}")
END
done
