"""Random schemas, reads and writes: no answer may be wrong.

| file | what it makes |
|---|---|
| `world.py` | the picture of a random schema: relations, functions, names |
| `schemas.py` | its statements: tables, partitions, inheritance, keys, views |
| `code.py` | what runs by itself: functions, procedures, triggers, rules |
| `dml.py` | one statement that changes rows of one relation |
| `reads.py` | random SELECTs, with the order of their rows fixed where possible |
| `writes.py` | random writes: one or more messages each |
| `changes.py` | random DDL over what is there |
| `stage.py` | a database with its connections; how two answers are compared |
| `play.py` | the loop: write, compare every primed read, count |
| `shrink.py` | fewer statements that still show a difference |
| `faults.py`, `launcher.py` | a Howdah with one seeded fault |

`python -m tests.generator --help` runs it for as long as wanted.

The choices come from one `random.Random(seed)` instead of hypothesis: a run is one
long stateful play against servers, whose length is what counts. Hypothesis would
run many short ones, replay each prefix to shrink it, and decide itself when it has
seen enough; here the seed and the number of steps say all, and `shrink.py` does
what is worth doing with whole statements.
"""
