"""The administration console: a session that Howdah answers by itself.

What lives here: the protocol's side of it, simple and extended, and the transaction status
that drivers expect. What must not: what statements mean (`admin.commands`), and how a client
gets in (`admin.gate`).

Work is done in turns of one statement or a few messages, for which the shell asks one by one:
others have theirs in between, and nothing is answered faster than it is read.

Follows "Message Flow" of the protocol chapter. There are no transactions: what a command does
is done at once. BEGIN, COMMIT and ROLLBACK move the status alone, and an error in a block fails
it, so that drivers find what they know.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from proxy.admin import commands, lexer, values
from proxy.admin.gate import Gate
from proxy.admin.manners import DEFAULTS
from proxy.admin.prepared import Answer, Desk, Keeper, Prepared
from proxy.admin.views import House, Row, Value
from proxy.errors import HowdahError, ProtocolError
from proxy.wire import messages
from proxy.wire.framing import HEADER, client_header

# The longest message that is taken, and what a client may send ahead of an answer, in bytes.
_LIMIT = 1024 * 1024
_STATEMENTS_LIMIT = 1_000  # prepared statements and portals, each
_ROWS_LIMIT = 100_000  # that wait in portals to be fetched
_TURN = 100  # messages without a statement that runs
_EMPTY = messages.message(b"I")
# Settings of the session whose values the console has of its own.
_OWN = ("client_encoding", "standard_conforming_strings")


@dataclass(frozen=True, slots=True)
class _Statement:
    """A prepared statement: None where its text is empty; OIDs that the client has declared."""

    prepared: Prepared | None
    oids: tuple[int, ...]


@dataclass(slots=True)
class _Portal:
    """A bound statement; `rows` are what is left to fetch once it has run."""

    prepared: Prepared | None
    values: list[Value]
    formats: Sequence[int]
    answer: Answer | None = None
    rows: deque[Row] = field(default_factory=deque)


class ConsoleSession(Gate):
    """A client of the console. The shell treats it as it treats `session.core.Session`."""

    def __init__(
        self,
        house: House,
        keeper: Keeper,
        connection_id: int,
        *,
        database: str,
        login: str,
        roles: tuple[str, ...],
    ) -> None:
        """
        Args:
            database: the console's name. login: the database that logins go to.
            roles: that may come in.
        """
        super().__init__(house.engine, connection_id, login, roles)
        self.desk = Desk(house, keeper, "", f"console {connection_id}", database)
        # Set by the shell: has `go_on` called soon.
        self.soon: Callable[[], None] = lambda: None
        self._status = b"I"
        self._statements: dict[bytes, _Statement] = {}
        self._portals: dict[bytes, _Portal] = {}
        # The rest of a Query; None where none is under way.
        self._queue: deque[lexer.Statement] | None = None
        self._skips = False  # up to Sync, behind an error
        self._waits = False  # for something that takes a while
        self._arrived: Callable[[], None] | None = None  # deals with what was waited for
        self._at = 0  # where in the buffer the next message begins
        self._ran = False  # something that takes time, in this turn

    @property
    def idle(self) -> bool:
        """Nothing outstanding: it may be ended politely. What a block did is done already."""
        if not self.started:
            return self._awaits_client
        return not self._waits and not self.behind

    @property
    def behind(self) -> bool:
        """Whether there may be more to do at once than one turn has done."""
        if not self.started or self.close_client:
            return False
        if self._waits:
            return self._arrived is not None
        return self._queue is not None or len(self._client_buffer) - self._at >= HEADER

    def welcome(self) -> None:
        """See `Gate`."""
        reported = {**self.reported, **{name: DEFAULTS[name] for name in _OWN}}
        self.desk.user = self.user
        self.desk.parameters.update((name.lower(), value) for name, value in reported.items())
        self.to_client += [messages.parameter_status(*item) for item in reported.items()]
        if self.cancel_key is not None:
            self.to_client.append(messages.message(b"K", self.cancel_key))
        self._ready()

    def refused(self, role: str) -> None:
        """See `Gate`."""
        self.desk.keeper.note(f"{self.desk.owner}: role {role!r} is not one of admin_roles")

    def _ready(self) -> None:
        self.to_client.append(messages.ready_for_query(self._status))

    # --- messages -------------------------------------------------------------

    def statements(self, data: bytes) -> None:
        """Bytes of the client; those behind a statement that takes a while are kept."""
        self._client_buffer = self._client_buffer[self._at :] + data
        self._at = 0
        if len(self._client_buffer) > 2 * _LIMIT:
            self.terminate(ProtocolError("too many bytes while a command runs"), self.now)
            return
        self.go_on(self.now)

    def go_on(self, now: float) -> None:
        """One turn; where it leaves something to do, the shell is asked for another one."""
        self.now = now
        self._ran = False
        arrived, self._arrived = self._arrived, None
        if arrived is not None:
            self._waits = False
            arrived()
        for _ in range(_TURN):
            if self._waits or self._ran or self.close_client:
                break
            if self._queue is not None:
                self._next_of_query()
            elif not self._next_message():
                return
        if self.behind:
            self.soon()

    def _next_message(self) -> bool:
        """Deal with the next message; False where it is not there yet, or makes no sense."""
        buffer, at = self._client_buffer, self._at
        if len(buffer) - at < HEADER:
            return False
        try:
            kind, size = client_header(buffer, at)
            if size > _LIMIT:
                raise ProtocolError("a message is too long for the console", sqlstate="54000")
        except ProtocolError as error:
            self.terminate(error, self.now)
            return False
        if len(buffer) - at < size:
            return False
        self._at += size
        self._message_of_client(kind, buffer[at + HEADER : at + size])
        return True

    def _message_of_client(self, kind: int, payload: bytes) -> None:
        if kind == 0x58:  # Terminate
            self.close_client = True
            return
        if kind == 0x53:  # Sync
            self._skips = False
            if self._status == b"I":
                self._portals.clear()
            self._ready()
            return
        if self._skips or kind in b"Hdcf":
            # Flush has nothing to do, and COPY is never begun.
            return
        try:
            if kind == 0x51:
                self._query(payload)
            elif kind == 0x46:
                raise HowdahError("the console has no functions to call", sqlstate="0A000")
            else:
                _HANDLERS[kind](self, payload)
        except (HowdahError, struct.error) as error:
            if not isinstance(error, HowdahError):
                error = ProtocolError("insufficient data left in message")
            self._failed(error)
            if kind == 0x46:
                self._ready()
            elif kind != 0x51:
                self._skips = True

    def _failed(self, error: HowdahError) -> None:
        if self._status == b"T":
            self._status = b"E"
        self.to_client.append(
            messages.error_response(
                error.sqlstate, error.message, severity="ERROR", hint=error.hint
            )
        )

    # --- the simple protocol --------------------------------------------------

    def _query(self, payload: bytes) -> None:
        self._ran = True
        self._statements.pop(b"", None)
        self._portals.pop(b"", None)
        try:
            if not payload or payload.find(b"\x00") != len(payload) - 1:
                raise ProtocolError("invalid message format: a text without an end")
            queue = deque(lexer.statements(values.decoded(payload[:-1])))
        except HowdahError as error:
            self._failed(error)
            self._ready()
            return
        if not queue:
            self.to_client.append(_EMPTY)
        self._queue = queue

    def _next_of_query(self) -> None:
        """Run the next statement of a Query, or end it."""
        if self._queue:
            statement = self._queue.popleft()
            try:
                prepared = commands.prepare(statement, self.desk)
                if prepared.parameters:
                    raise HowdahError("there is no parameter $1", sqlstate="42P02")
                self._run(prepared, [], partial(self._whole, prepared))
            except HowdahError as error:
                self._queue.clear()
                self._failed(error)
        if not self._queue and not self._waits:
            self._queue = None
            self._ready()

    def _whole(self, prepared: Prepared, answer: Answer) -> None:
        """Put out an answer as the simple protocol has it."""
        if prepared.columns is not None:
            self.to_client.append(values.row_description(prepared.columns, ()))
            self.to_client += values.data_rows(prepared.columns, answer.rows, ())
        self.to_client.append(messages.command_complete(answer.tag.encode()))

    # --- running --------------------------------------------------------------

    def _run(
        self, prepared: Prepared, arguments: Sequence[Value], done: Callable[[Answer], None]
    ) -> None:
        """Have a statement do what it does, now or in a while, and hand `done` its answer.

        Raises:
            HowdahError: it has failed at once.
        """
        self._allow(prepared)
        self._ran = True
        found = prepared.run(arguments)
        if isinstance(found, Answer):
            self._answered(prepared, found, done)
            return
        self._waits = True
        found(lambda answer: self._comes(partial(self._later, prepared, answer, done)))

    def _comes(self, arrived: Callable[[], None]) -> None:
        """What took a while has ended; the next turn deals with it."""
        self._arrived = arrived
        if not self.close_client:
            self.soon()

    def _allow(self, prepared: Prepared) -> None:
        """Raise what PostgreSQL would in the present state of the transaction."""
        control = prepared.control
        if self._status == b"E" and control not in ("COMMIT", "ROLLBACK", "ROLLBACK TO"):
            raise HowdahError(
                "current transaction is aborted, commands ignored until end of transaction block",
                sqlstate="25P02",
            )
        if self._status == b"I" and control in ("SAVEPOINT", "RELEASE", "ROLLBACK TO"):
            raise HowdahError(f"{control} can only be used in transaction blocks", sqlstate="25P01")

    def _answered(self, prepared: Prepared, answer: Answer, done: Callable[[Answer], None]) -> None:
        if prepared.control == "COMMIT" and self._status == b"E":
            answer = Answer("ROLLBACK")
        if prepared.control in ("COMMIT", "ROLLBACK"):
            self._status = b"I"
            self._portals.clear()
        elif prepared.control:
            self._status = b"T"
        if prepared.forgets == "":
            self._statements.clear()
        elif prepared.forgets is not None:
            self._statements.pop(prepared.forgets.encode(), None)
        self.to_client += [messages.notice_response(text) for text in answer.notices]
        done(answer)

    def _later(
        self, prepared: Prepared, answer: Answer | HowdahError, done: Callable[[Answer], None]
    ) -> None:
        """Put out what a statement has come to in the end."""
        if isinstance(answer, Answer):
            self._answered(prepared, answer, done)
        else:
            self._failed(answer)
            if self._queue is None:
                self._skips = True
            else:
                self._queue.clear()
        if self._queue is not None and not self._queue:
            self._next_of_query()

    # --- the extended protocol ------------------------------------------------

    def _parse(self, payload: bytes) -> None:
        self._ran = True
        name, at = messages.cut_name(payload)
        text, at = messages.cut_name(payload, at)
        (count,) = struct.unpack_from("!H", payload, at)
        oids = struct.unpack_from(f"!{count}I", payload, at + 2)
        if name and name in self._statements:
            known = name.decode("utf-8", "replace")
            raise HowdahError(f'prepared statement "{known}" already exists', sqlstate="42P05")
        found = lexer.statements(values.decoded(text))
        if len(found) > 1:
            raise HowdahError(
                "cannot insert multiple commands into a prepared statement", sqlstate="42601"
            )
        prepared = commands.prepare(found[0], self.desk) if found else None
        if prepared is not None:
            self._allow(prepared)
        if len(self._statements) >= _STATEMENTS_LIMIT:
            raise HowdahError("too many prepared statements", sqlstate="54000")
        self._statements[name] = _Statement(prepared, oids)
        self.to_client.append(messages.PARSE_COMPLETE)

    def _statement(self, name: bytes) -> _Statement:
        found = self._statements.get(name)
        if found is None:
            shown = name.decode("utf-8", "replace")
            raise HowdahError(
                f'prepared statement "{shown}" does not exist'
                if name
                else "unnamed prepared statement does not exist",
                sqlstate="26000",
            )
        return found

    def _portal(self, name: bytes) -> _Portal:
        found = self._portals.get(name)
        if found is None:
            shown = name.decode("utf-8", "replace")
            raise HowdahError(f'portal "{shown}" does not exist', sqlstate="34000")
        return found

    def _bind(self, payload: bytes) -> None:
        bind = messages.decode_bind(payload)
        statement = self._statement(bind.statement)
        reader = _Reader(bind.rest)
        formats = reader.shorts()
        raw = reader.parameters()
        results = reader.shorts()
        wanted = self._types(statement)
        if len(raw) != len(wanted):
            raise HowdahError(
                f"bind message supplies {len(raw)} parameters, but prepared statement "
                f"requires {len(wanted)}",
                sqlstate="08P01",
            )
        codes = values.spread(formats, len(raw))
        arguments = [
            values.parameter(data, oid, code)
            for data, oid, code in zip(raw, wanted, codes, strict=True)
        ]
        if statement.prepared is not None:
            self._allow(statement.prepared)
            values.spread(results, len(statement.prepared.columns or ()))
        if bind.portal and bind.portal in self._portals:
            shown = bind.portal.decode("utf-8", "replace")
            raise HowdahError(f'portal "{shown}" already exists', sqlstate="42P03")
        if len(self._portals) >= _STATEMENTS_LIMIT:
            raise HowdahError("too many portals", sqlstate="54000")
        self._portals[bind.portal] = _Portal(statement.prepared, arguments, results)
        self.to_client.append(messages.BIND_COMPLETE)

    @staticmethod
    def _types(statement: _Statement) -> list[int]:
        """The types of the parameters: as the client has declared them, or as they are used."""
        prepared = statement.prepared
        used = [] if prepared is None else [values.OIDS[type] for type in prepared.parameters]
        declared = statement.oids
        return [
            declared[at] if at < len(declared) and declared[at] else oid
            for at, oid in enumerate(used)
        ]

    def _describe(self, payload: bytes) -> None:
        name = messages.cut_name(payload, 1)[0]
        if payload[:1] == b"S":
            statement = self._statement(name)
            types = self._types(statement)
            self.to_client.append(
                messages.message(b"t", struct.pack(f"!H{len(types)}I", len(types), *types))
            )
            self._describe_rows(statement.prepared, ())
        else:
            portal = self._portal(name)
            self._describe_rows(portal.prepared, portal.formats)

    def _describe_rows(self, prepared: Prepared | None, formats: Sequence[int]) -> None:
        columns = None if prepared is None else prepared.columns
        if columns is None:
            self.to_client.append(messages.NO_DATA)
        else:
            self.to_client.append(values.row_description(columns, formats))

    def _execute(self, payload: bytes) -> None:
        name, at = messages.cut_name(payload)
        (limit,) = struct.unpack_from("!i", payload, at)
        portal = self._portal(name)
        if portal.prepared is None:
            self.to_client.append(_EMPTY)
        elif portal.answer is not None:
            self._fetch(portal, limit)
        else:
            self._run(
                portal.prepared,
                portal.values,
                lambda answer: self._first_fetch(portal, answer, limit),
            )

    def _first_fetch(self, portal: _Portal, answer: Answer, limit: int) -> None:
        waiting = sum(len(other.rows) for other in self._portals.values())
        if 0 < limit < len(answer.rows) and waiting + len(answer.rows) > _ROWS_LIMIT:
            raise HowdahError(
                "too many rows wait in portals",
                sqlstate="54000",
                hint="Fetch or close the portals that are open.",
            )
        portal.answer = answer._replace(rows=())
        portal.rows.extend(answer.rows)
        self._fetch(portal, limit)

    def _fetch(self, portal: _Portal, limit: int) -> None:
        """Put out rows, `limit` at most where it is more than 0."""
        assert portal.answer is not None
        assert portal.prepared is not None
        columns, tag = portal.prepared.columns, portal.answer.tag
        if columns is not None:
            count = len(portal.rows) if limit <= 0 else min(limit, len(portal.rows))
            if limit > 0 and tag.startswith("SELECT "):
                tag = f"SELECT {count}"
            rows = [portal.rows.popleft() for _ in range(count)]
            self.to_client += values.data_rows(columns, rows, portal.formats)
            if limit > 0 and count == limit:
                self.to_client.append(messages.PORTAL_SUSPENDED)
                return
        self.to_client.append(messages.command_complete(tag.encode()))

    def _close(self, payload: bytes) -> None:
        name = messages.cut_name(payload, 1)[0]
        if payload[:1] == b"S":
            self._statements.pop(name, None)
        else:
            self._portals.pop(name, None)
        self.to_client.append(messages.CLOSE_COMPLETE)


_HANDLERS: dict[int, Callable[[ConsoleSession, bytes], None]] = {
    0x50: ConsoleSession._parse,
    0x42: ConsoleSession._bind,
    0x44: ConsoleSession._describe,
    0x45: ConsoleSession._execute,
    0x43: ConsoleSession._close,
}


class _Reader:
    """The part of a Bind behind its names."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def _short(self) -> int:
        (number,) = struct.unpack_from("!H", self._data, self._at)
        self._at += 2
        return int(number)

    def shorts(self) -> tuple[int, ...]:
        """A counted list of numbers."""
        return tuple(self._short() for _ in range(self._short()))

    def parameters(self) -> list[bytes | None]:
        """A counted list of values."""
        found: list[bytes | None] = []
        for _ in range(self._short()):
            (length,) = struct.unpack_from("!i", self._data, self._at)
            self._at += 4
            if length < 0:
                found.append(None)
                continue
            if self._at + length > len(self._data):
                raise ProtocolError("insufficient data left in message")
            found.append(self._data[self._at : self._at + length])
            self._at += length
        return found
