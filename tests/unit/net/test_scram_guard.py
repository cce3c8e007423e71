"""The guard over SCRAM exchanges: any split of the bytes gives the same result."""

from __future__ import annotations

import pytest

from proxy.errors import ProtocolError, StartupError
from proxy.net.scram_guard import ScramGuard
from proxy.wire.messages import error_response, message

BOTH = b"SCRAM-SHA-256-PLUS\x00SCRAM-SHA-256\x00\x00"
ONE = b"SCRAM-SHA-256\x00\x00"
OK = message(b"R", (0).to_bytes(4, "big"))


def offer(names: bytes) -> bytes:
    return message(b"R", (10).to_bytes(4, "big") + names)


def choice(mechanism: bytes, first: bytes) -> bytes:
    return message(b"p", mechanism + b"\x00" + len(first).to_bytes(4, "big") + first)


def feed(guard: ScramGuard, stream: bytes, step: int) -> None:
    """Hand over a stream that must not pass, in pieces of `step` bytes."""
    for at in range(0, len(stream), step):
        assert guard.from_client(stream[at : at + step]) == b""


@pytest.mark.parametrize("step", [1, 2, 7, 1000])
def test_plus_is_taken_out_for_a_plain_client(step):
    guard = ScramGuard(client_tls=False)
    stream = message(b"N", b"a notice\x00") + offer(BOTH)
    seen = b"".join(guard.from_server(stream[at : at + step]) for at in range(0, len(stream), step))
    assert seen == message(b"N", b"a notice\x00") + offer(ONE)
    answer = choice(b"SCRAM-SHA-256", b"n,,n=,r=abc")
    assert guard.from_client(answer) == answer
    assert guard.from_server(OK + b"rest") == OK + b"rest"
    assert guard.done


@pytest.mark.parametrize("step", [1, 3, 1000])
@pytest.mark.parametrize(
    ("mechanism", "first", "word"),
    [
        (b"SCRAM-SHA-256-PLUS", b"p=tls-server-end-point,,n=,r=abc", "SCRAM-SHA-256-PLUS"),
        (b"SCRAM-SHA-256", b"y,,n=,r=abc", "gs2 flag y"),
    ],
)
def test_binding_over_two_tls_hops_is_refused_with_the_ways_out(step, mechanism, first, word):
    guard = ScramGuard(client_tls=True)
    assert guard.from_server(offer(BOTH)) == offer(BOTH)
    stream = choice(mechanism, first)
    with pytest.raises(StartupError, match=word) as caught:
        feed(guard, stream, step)
    assert caught.value.sqlstate == "28000"
    assert "channel_binding=disable" in str(caught.value.hint)


def test_no_binding_passes_over_two_tls_hops():
    guard = ScramGuard(client_tls=True)
    guard.from_server(offer(BOTH))
    answer = choice(b"SCRAM-SHA-256", b"n,,n=,r=abc")
    assert guard.from_client(answer[:4]) == b""
    assert guard.from_client(answer[4:]) == answer
    # The second message of the exchange is not looked at.
    assert guard.from_client(b"p") == b"p"


def test_a_server_that_does_not_bind_is_left_alone():
    guard = ScramGuard(client_tls=True)
    assert guard.from_server(offer(ONE)) == offer(ONE)
    assert guard.done
    answer = choice(b"SCRAM-SHA-256", b"y,,n=,r=abc")
    assert guard.from_client(answer) == answer


@pytest.mark.parametrize("end", [OK, error_response("28P01", "no")])
def test_it_ends_with_the_authentication(end):
    guard = ScramGuard(client_tls=True)
    assert guard.from_server(end + b"more") == end + b"more"
    assert guard.done


def test_endless_messages_are_not_collected():
    guard = ScramGuard(client_tls=True)
    guard.from_server(offer(BOTH))
    with pytest.raises(ProtocolError):
        feed(guard, b"p\x7f\xff\xff\xff" + bytes(400_000), 4096)
    guard = ScramGuard(client_tls=True)
    out = sum(len(guard.from_server(b"N\x7f\xff\xff\xff" + bytes(65536))) for _ in range(4))
    assert guard.done
    assert out == 4 * (65536 + 5)
