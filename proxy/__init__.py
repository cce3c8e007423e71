"""Howdah: a caching proxy that speaks PostgreSQL's protocol.

The nouns:

- **client**: the application's connection. **backend**: PostgreSQL's process
  behind an upstream connection. **session**: all that Howdah knows of one client.
- **facts**: what the text of a statement alone says. **catalog snapshot**: an
  immutable picture of the schema. **closure**: the relations, as OIDs, that a
  statement can write once facts meet the catalog.
- **context**: everything about a session that can change an answer (database,
  roles, settings, search_path), interned as one small integer.
- **entry**: a stored answer. **key**: context, statement and parameters.
  **fill**: storing an answer while it streams to the client.
- **granule**: what is fenced and evicted, a relation. **fence**: a counter that
  is raised on granules before a write can commit and lowered after it is known
  to have ended. **reason**: why a statement was not answered from memory.

The path of one query:

1. `net/client.py` gets a chunk and calls `session/core.py: from_client`.
2. `wire/framing.py` finds the messages in it; a Query, or Parse to Sync, is one request.
3. `policy/memo.py` gives the plan of a known text; a new one goes through
   `sql/analyse.py` (facts) and `policy/decide.py` (facts meet the catalog).
4. Hit: `cache/store.py` has the bytes, `cache/fences.py` says that nothing can
   have changed them; they leave in one write with the true ReadyForQuery.
5. Miss: `cache/fills.py` records the counters, the request goes upstream, the
   answer streams to the client and is recorded on the way (`session/replies.py`).
6. Write: the fence goes up, the bytes go upstream, ReadyForQuery comes back,
   entries are evicted, the fence comes down.
"""

__version__ = "0.1.0"
