"""Benchmarks: what a hit, a miss and a forwarded statement cost, next to the alternatives.

One run, one machine, everything side by side: PostgreSQL directly, PgBouncer, Pgpool-II with its
memory cache, Howdah, and two bare uvloop servers that show the floor a Python proxy stands on.
Rounds are short and interleaved, so that whatever else the machine does strikes all alike, and
ratios are formed inside a round before the median over the rounds is taken.

    children.py    processes: start, stop, ports, CPU time
    postgres.py    the PostgreSQL that the bench starts for itself
    systems.py     what is measured: each system's configuration and start
    floor.py       the two bare servers
    load.py        pgbench and its figures
    scenarios.py   the workloads
    rounds.py      the interleaved measurement
    report.py      medians, ratios, goals, tables
    plots.py       SVG by hand

Nothing in proxy/ may import from here.
"""
