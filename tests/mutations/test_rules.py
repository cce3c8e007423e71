"""Rules that only a mutation of them made visible, played without sockets."""

from __future__ import annotations

from proxy.cache import store
from tests.playbook.stage import OID, Player, answer, complete, engine, own, ready, shop

READ = "SELECT x FROM t WHERE id = {}"


def test_entries_that_wait_to_be_freed_are_not_served() -> None:
    """F4: of very many entries most are freed later; their counters keep them back."""
    shared = engine(cache_bytes=100_000_000)
    writer, reader = Player(shared, 1), Player(shared, 2)
    count = store.EVICTION_SLICE + 100
    for number in range(count):
        reader.query(READ.format(number))
        reader.server(answer("old"))
    reader.clear()
    writer.query("UPDATE t SET x = 'new'")
    writer.server(complete("UPDATE 1") + ready())
    left = [entry.key[1] for entry in shared.store]
    assert left
    for message in left:
        reader.client(message)
        to_client, to_server = reader.clear()
        assert (to_client, to_server) == (b"", message)
        reader.server(answer("new"))
        reader.clear()


def test_a_fill_in_flight_does_not_outlive_an_epoch() -> None:
    """F5, F8: its answer may be of before what made everything go."""
    shared = engine()
    reader = Player(shared)
    reader.query(READ.format(1))
    shared.epoch("flush")
    reader.server(answer("old"))
    assert len(shared.store) == 0


def test_a_commit_behind_a_new_catalog_fences_everything() -> None:
    """F12: what a trigger function has become may fire deferred."""
    shared = engine()
    writer = Player(shared)
    writer.query("BEGIN")
    writer.query("UPDATE t SET x = 'new'")
    writer.server(own("BEGIN") + complete("UPDATE 1") + ready("T"))
    shared.install("shop", shop(fingerprint="2"))
    writer.query("COMMIT")
    assert any((OID, 0) in fence.granules for fence in shared.board.fences)
