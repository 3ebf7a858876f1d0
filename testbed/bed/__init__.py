"""The testbed: small companies in network namespaces, benign and hostile traffic on one wire, and the truth about it.

Owns: namespaces, the switch process, programs, schedules, truth. Never: an address outside the namespaces it made, a
loop without a bound. In: a scenario (TOML). Out: one directory with a capture, truth.csv and run.json.
"""
