"""Truth: what each actor did, one row a flow where the actor knows its ports, else one row a program and target.

Owns truth.csv. Never guesses: a row is written by whoever made the traffic. In: rows. Out: the file that
`tapline label` reads.
"""

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
        self._lock = threading.Lock()  # libraries close sockets in threads of their own
        self.counts = {}

    def row(self, what, start_us, end_us, source, source_port, destination, destination_port, protocol):
        """`what` is the catalogue's entry of the behaviour (`catalog.Behaviour`)."""
        row = [start_us, end_us, source, source_port, destination, destination_port, protocol, what.label,
               0 if what.label == "benign" else 1, what.name, what.tool, what.technique, *self._tail]
        with self._lock:
            self._rows.writerow(row)
            self.counts[what.name] = self.counts.get(what.name, 0) + 1

    def close(self):
        """Writes out what is still buffered."""
        self._file.close()
