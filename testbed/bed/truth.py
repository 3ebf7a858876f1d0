"""Truth: what each actor did, one row a flow where the actor knows its ports, else one row a program and target.

Owns truth.csv. Never guesses: a row is written by whoever made the traffic. In: rows. Out: the file that
`tapline label` reads.
"""

import collections
import csv
import threading

HEADER = ["start_us", "end_us", "source", "source_port", "destination", "destination_port", "protocol", "class", "hostile",
          "behaviour", "tool", "technique", "run", "site"]
CLASSES = ("benign", "scan", "brute-force", "dos", "web-attack", "c2", "exfiltration", "lateral")


class Truth:
    """Appends rows to truth.csv."""

    def __init__(self, path, run, site):
        self._file = open(path, "w", newline="")
        self._rows = csv.writer(self._file, lineterminator="\n")
        self._rows.writerow(HEADER)
        self._tail = (run, site)
        self._waiting = collections.deque()
        self._writing = threading.Lock()
        self.counts = {}

    def row(self, what, start_us, end_us, source, source_port, destination, destination_port, protocol):
        """`what` is the catalogue's entry of the behaviour (`catalog.Behaviour`)."""
        self._waiting.append([
            start_us, end_us, source, source_port, destination, destination_port, protocol, what.label,
            0 if what.label == "benign" else 1, what.name, what.tool, what.technique, *self._tail])
        if len(self._waiting) >= 256:
            self._write()

    def _write(self):
        """Writes what waits. Sockets are closed in threads of libraries, and by the collector in the middle of anything,
        this function included: whoever comes second leaves its row to the first."""
        if not self._writing.acquire(blocking=False):
            return
        try:
            while self._waiting:
                row = self._waiting.popleft()
                self._rows.writerow(row)
                self.counts[row[9]] = self.counts.get(row[9], 0) + 1
        finally:
            self._writing.release()

    def close(self):
        """Writes out what still waits."""
        self._write()
        self._file.close()
