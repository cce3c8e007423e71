"""`howdah consistency`: a checker that tries to catch a proxy, or PostgreSQL, in a wrong read.

Clients write and read through the address under test; every answer is judged against what
was known when the read began and what could be known when it ended. The judges are pure and
know nothing of SQL; the workloads know tables and statements; `run.py` starts and stops all.

    history.py   P  time, versions, violations
    registers.py P  single-writer versions: stale, inverted, phantom and aborted reads
    bank.py      P  totals that no transfer changes
    rows.py      P  rows that move between predicates
    lists.py     P  append-only lists and their order
    power.py     P  faults put into a recorded history: does a judge find them?
    login.py     P  the client's side of a login
    link.py         one connection, raw protocol
    styles.py       the ways in which a statement can be asked
    context.py      what a run has in common: connections that come back, counts
    cell.py         what a workload shares: scenes, turns, readers, writers
    ways.py         the ways to send a write that all workloads share
    paths.py        the ways in which a register can be written
    on_*.py         the workloads
    chaos.py        faults from outside
    tables.py, run.py, report.py
"""
