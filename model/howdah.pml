/* The consistency protocol of Howdah, small enough to be checked exhaustively.
 *
 * One register stands for all that an answer depends on: a table, or all that a closure
 * covers. Each commit makes a new version of it visible, and a reader must never be given
 * less than what was acknowledged, or returned to anybody, before its read began, nor more
 * than what is committed. That is linearizability for a register that only grows.
 *
 * Steps carry the names of the code: `dispatch`, `settle`, `server_lost`, `upstream_lost`
 * (proxy/session), `up`, `widen`, `down`, `record`, `holds` (proxy/cache/fences.py), `admit`
 * (proxy/cache/fills.py), `install`, `schema_down`, `identity_seen`, `epoch` (proxy/session/
 * engine.py), `prove_ended` (proxy/net/watch.py). Howdah is one event loop: what it does in
 * one call is one atomic step here. The steps of PostgreSQL, clients and networks interleave
 * with it in every order.
 *
 * Names of invariants, F1 to F12, are those of ARCHITECTURE.md. A run without a mutation
 * asserts some of them where they can be stated locally (STATE); a run with one (-DF1_... and so on)
 * is compiled with -DPROMISE_ONLY and has to break what clients are promised.
 *
 * Configurations (model/run.py has the table): WRITERS, READERS; LOSS: a connection of a
 * writer may break, its client may vanish; CRASH: PostgreSQL crashes once and may lose an
 * acknowledged commit; DDL: whether a write reaches the register depends on a schema that
 * changes; OLD: an earlier Howdah has left a COMMIT on its way; STREAM: writers go past
 * Howdah, which sees the log (stream.pml).
 *
 * What is assumed: one primary; a version becomes visible after its commit record is in the
 * log, and its row lock is released after that; after a crash Howdah learns that one
 * connection at least is lost before PostgreSQL lets anybody in again; a new slot waits for
 * the transactions that run while it is made.
 */

#ifndef WRITERS
#define WRITERS 1
#endif
#ifndef READERS
#define READERS 2
#endif

mtype = { EXECUTE, SYNC, ROLLBACK, COMMAND_COMPLETE, ERROR, READY };

/* ---- PostgreSQL ---------------------------------------------------------------------- */

byte visible = 0;         /* the version that a new snapshot sees */
byte logged = 0;          /* the version whose commit record is in the log */
byte durable = 0;         /* the version that survives a crash */
byte incarnation = 0;     /* what identifies the server: changes with a crash */
bool serving = true;      /* it lets clients in */
bool row_locked = false;
bool reaches = true;      /* a write of the table is a write of the register (trigger, closure) */
bool ended[WRITERS];      /* the backend of a writer is gone */
bool link_lost[WRITERS];
bool reader_lost[READERS];

chan to_server[WRITERS] = [2] of { mtype };
chan to_client[WRITERS] = [3] of { mtype, byte };

/* ---- Howdah -------------------------------------------------------------------------- */

byte started = 0, finished = 0;       /* the counters of the register's slot */
bool fence_up[WRITERS];               /* a writer holds a fence on its table ... */
bool fence_wide[WRITERS];             /* ... that covers the register, too */
bool suspended = false;               /* F8: no hits until the server is identified */
bool noticed = false;                 /* a loss was handled */
byte sessions = 0;
byte identity = 0;                    /* the server that Howdah's own login saw last */
bool known_reaches = true;            /* `reaches`, as of the catalog snapshot in force */
bool schema_fence = false;            /* F12 */

bool entry = false;                   /* the store: one key */
byte entry_value, entry_counter, entry_snapshot;

bool flying = false;                  /* a fill is under way: identical misses wait for it */
bool waiting[READERS];
byte flight_value;                    /* what its leader has read */

/* ---- What clients are promised --------------------------------------------------------- */

byte floor_ = 0;                      /* acknowledged, or returned to somebody */

#define MAX(a, b) ((a) > (b) -> (a) : (b))

inline promise(value, before) {
    assert(value >= before);                    /* not stale, no new-old inversion */
    assert(!serving || value <= visible);       /* no phantom */
    /* While the server is down, a hit counts as one of just before its crash. */
    floor_ = (serving -> MAX(floor_, value) : floor_)
}

#ifdef PROMISE_ONLY
#define STATE(expression) skip
#else
#define STATE(expression) assert(expression)
#endif

/* ---- The board and the store ----------------------------------------------------------- */

#define idle (started == finished)

#ifdef F4_NO_COUNTER_AT_HIT
#define holds (entry && idle)
#else
#define holds (entry && idle && entry_counter == started)
#endif

inline evict() { entry = false; entry_value = 0; entry_counter = 0; entry_snapshot = 0 }

inline widen(i) {
    if
    :: fence_up[i] && !fence_wide[i] -> fence_wide[i] = true; started++
    :: else
    fi
}

inline up(i, wide) {
    fence_up[i] = true;
    if
    :: wide -> fence_wide[i] = true; started++
    :: else
    fi
}

inline down(i) {
    if
    :: fence_wide[i] -> finished++
    :: else
    fi;
    fence_up[i] = false;
    fence_wide[i] = false
}

inline undo(i) {                      /* `down` of a known abort: entries hold again (F3) */
    if
    :: fence_wide[i] -> started--
    :: else
    fi;
    fence_up[i] = false;
    fence_wide[i] = false
}

inline lower(i) {                     /* F3: evict, then lower */
#ifdef F3_NO_EVICTION
    down(i)
#else
    if
    :: fence_wide[i] -> evict()
    :: else
    fi;
    down(i)
#endif
}

/* ---- A writer: its backend -------------------------------------------------------------- */

inline tell(i, kind, value) {
    if
    :: link_lost[i]
    :: else -> to_client[i]!kind(value)
    fi
}

/* The commit record comes first, then the version is visible, then the lock is free. */
inline commit(version) {
    if
    :: reaches ->
        logged++;
        printf("PostgreSQL: commit record of version %d\n", logged);
        atomic {
            visible = logged;
            version = visible;
#ifndef STREAM
            STATE(!idle);              /* F1, F2: a fence stands */
#endif
            row_locked = false;
#ifdef CRASH
            if
            :: durable = visible
            :: skip                    /* synchronous_commit = off */
            fi;
#endif
            printf("PostgreSQL: version %d is visible\n", visible)
        }
    :: else -> atomic { version = 0; row_locked = false }
    fi
}

bool opaque[WRITERS];                 /* CALL: it commits inside, and may fail behind that */

proctype Backend(byte i) {
    byte version = 0;
    bool writing = false, skipping = false;
    {
end:
    do
    :: to_server[i]?EXECUTE ->
        atomic { !row_locked -> row_locked = true; writing = true };
        if
        :: opaque[i] ->
            commit(version);
            atomic {
                writing = false;
                if
                :: true -> tell(i, COMMAND_COMPLETE, 0)
                :: true -> tell(i, ERROR, 0)
                fi
            }
        :: !opaque[i] -> tell(i, COMMAND_COMPLETE, 0)
        :: !opaque[i] ->
            atomic { row_locked = false; writing = false; skipping = true; tell(i, ERROR, 0) }
        fi
    :: to_server[i]?SYNC ->
        if
        :: writing && !skipping ->
            if
            :: true -> commit(version)
            :: atomic { row_locked = false; tell(i, ERROR, 0) }    /* a deferred constraint */
            fi
        :: else
        fi;
        atomic { writing = false; skipping = false; tell(i, READY, version); version = 0 }
    :: to_server[i]?ROLLBACK ->
        atomic {
            if
            :: writing -> row_locked = false
            :: else
            fi;
            writing = false;
            skipping = false;
            tell(i, READY, 0)
        }
    :: atomic {
        link_lost[i] ->                 /* seen when it reads next, or later */
        if
        :: writing -> row_locked = false
        :: else
        fi;
        ended[i] = true;
        printf("PostgreSQL: backend of writer %d has ended\n", i);
        break
    }
    od
    } unless { !serving };
    ended[i] = true
}

/* ---- A writer: its session in Howdah ----------------------------------------------------- */

inline dispatch(i) {                  /* F1 */
    atomic {
        up(i, known_reaches || schema_fence || stale_closure);
        printf("writer %d: dispatch, the fence is up\n", i)
    }
}

inline upstream_lost() {
    noticed = true;
#ifndef F8_NO_SUSPENSION
    if
    :: !suspended -> suspended = true; started++
    :: else
    fi
#endif
}

inline settle(i) {                    /* F2, F3: at ReadyForQuery */
    if
    :: !fence_up[i]
#ifdef F3_ERROR_IS_ABORT
    :: fence_up[i] && failed -> undo(i)
    :: fence_up[i] && !failed -> lower(i)
#else
    :: fence_up[i] && failed && !opaque[i] -> undo(i)
    :: fence_up[i] && !(failed && !opaque[i]) -> lower(i)
#endif
    fi
}

proctype WriterSession(byte i) {
    byte version;
    bool explicit = false, failed = false, synced = false, present = true;
    bool stale_closure = false, saw = known_reaches;
    sessions++;

    if
    :: skip
    :: explicit = true
    :: opaque[i] = true
    fi;

    /* The write leaves. In a transaction nothing can commit yet. */
    if
    :: explicit -> to_server[i]!EXECUTE
    :: else ->
#ifdef F1_RAISE_AFTER_SEND
        to_server[i]!EXECUTE; to_server[i]!SYNC; synced = true; dispatch(i)
#else
        dispatch(i); to_server[i]!EXECUTE;
        if
        :: to_server[i]!SYNC; synced = true
        :: skip                       /* Flush first, Sync later */
        fi
#endif
    fi;

    do
    :: to_client[i]?COMMAND_COMPLETE(_) ->
        printf("writer %d: CommandComplete\n", i);
#ifdef F2_LOWER_AT_COMMAND_COMPLETE
        atomic {
            if
            :: fence_up[i] -> lower(i)
            :: else
            fi
        };
#endif
        if
        :: explicit && !synced -> own_read:
#ifdef F5_FILL_FROM_WRITER
            atomic {
                if
                :: idle && !entry -> entry = true; entry_value = logged + 1; entry_counter = started
                :: skip
                fi
            };
#endif
#ifdef T1_HIT_AFTER_OWN_WRITE
            atomic {
                if
                :: holds && reaches -> assert(entry_value > logged)
                :: else
                fi
            };
#endif
            if
            :: atomic {
                stale_closure = (saw != known_reaches);
                printf("writer %d: COMMIT\n", i)
               };
#ifdef F1_NO_FENCE_AT_COMMIT
               to_server[i]!SYNC
#else
               dispatch(i);
               to_server[i]!SYNC
#endif
            :: to_server[i]!ROLLBACK
            fi;
            synced = true
        :: !explicit && !synced -> to_server[i]!SYNC; synced = true
        :: else
        fi
    :: to_client[i]?ERROR(_) ->
        failed = true;
        if
        :: !synced -> synced = true; to_server[i]!SYNC
        :: else
        fi
    :: atomic { to_client[i]?READY(version) ->
        settle(i);
        printf("writer %d: ReadyForQuery, settle; version %d is acknowledged\n", i, version);
        if
        :: present && incarnation == 0 -> floor_ = MAX(floor_, version)
        :: else
        fi;
        break
    }
#ifdef LOSS
    :: atomic { present -> present = false; printf("writer %d: its client is gone\n", i);
#ifdef F2_CLIENT_GONE_LOWERS
        if
        :: fence_up[i] -> lower(i)
        :: else
        fi
#endif
    }
#endif
    :: atomic { link_lost[i] && empty(to_client[i]) ->
        printf("writer %d: server_lost\n", i);
        upstream_lost();
        goto lost
    }
    od;
    goto over;

lost:                                 /* F2: prove_ended */
#ifndef F2_LOWER_LOST_BY_TIMEOUT
    ended[i];
#endif
    atomic {
        if
        :: fence_up[i] -> lower(i)
        :: else
        fi;
        printf("writer %d: its lost fence is lowered\n", i)
    };
over:
    sessions--
}

/* ---- A reader ----------------------------------------------------------------------------- */

#define hot (proven == identity)      /* the context of the session is live (F8) */
#ifdef F8_WAITER_OF_ANOTHER_SERVER
#define may_look_again true
#else
#define may_look_again hot
#endif

inline hit(r, before) {
    STATE(!serving || entry_value == visible);                   /* F4 */
    STATE(!suspended);                                           /* F8 */
    printf("reader %d: hit, version %d\n", r, entry_value);
    promise(entry_value, before)
}

inline landed() {                     /* the flight is over, however it went: waiters look */
    byte w;
    flying = false;
    for (w : 0 .. READERS - 1) { waiting[w] = false }
    w = 0
}

/* The steps of a read. A hit is one step; an answer of PostgreSQL is several: dispatch, the
 * portal's snapshot, ReadyForQuery. */
proctype Reader(byte r) {
    byte before, value, counters, proven = 0;
    bool fill;
    {
    skip;
#ifdef CRASH
connect:
    atomic {
        serving ->
        proven = incarnation;         /* the probe of a new session */
        sessions++;
        reader_lost[r] = false;
        if
        :: proven != identity -> upstream_lost()
        :: else
        fi
    };
#endif
end:
    do
    :: atomic {
        before = floor_;
        fill = false;
        if
        :: hot && holds -> hit(r, before); goto next             /* F4 */
        :: hot && idle && !holds && !flying ->                   /* a miss */
#ifndef F5_RECORD_AT_EXECUTE
            fill = true; counters = started; flying = true;
#endif
            printf("reader %d: miss, record\n", r)
        :: hot && idle && !holds && flying -> waiting[r] = true; goto wait
        :: skip -> printf("reader %d: forwarded\n", r)           /* a fence, or another reason */
        fi
    };
forward:
    atomic {
        value = visible;              /* the Bind: the portal takes its snapshot */
        printf("PostgreSQL: reader %d takes its snapshot, version %d\n", r, value)
    };
#ifdef F5_RECORD_AT_EXECUTE
    atomic {
        if
        :: idle && !flying -> fill = true; counters = started; flying = true
        :: else
        fi
    };
#endif
    atomic {                          /* ReadyForQuery */
#ifdef CRASH
        if
        :: reader_lost[r] -> goto broken
        :: else
        fi;
#endif
        if
        :: fill ->
            flight_value = value;
            landed();
            if
#ifdef F5_NO_COUNTER_AT_ADMIT
            :: idle ->
#elif defined(F5_NO_CHECK_AT_ADMIT)
            :: true ->
#else
            :: idle && counters == started ->
#endif
                entry = true; entry_value = value; entry_counter = started;
                STATE(value == visible);                         /* F5 */
                printf("reader %d: ReadyForQuery, admit version %d\n", r, value)
            :: skip -> printf("reader %d: ReadyForQuery, rejected\n", r)
            fi
        :: else
        fi;
        promise(value, before);
        goto next
    };
wait:                                 /* single-flight: another one's fill is awaited */
    atomic {
        if
        :: !waiting[r] ->
#ifdef F5_WAITER_GETS_REJECTED
            printf("reader %d: waiter, gets version %d of the leader\n", r, flight_value);
            promise(flight_value, before);
            goto next
#else
            if
            :: may_look_again && holds -> hit(r, before); goto next  /* an ordinary look-up */
            :: else -> goto forward
            fi
#endif
        :: waiting[r] -> waiting[r] = false; goto forward    /* it has waited long enough */
        fi
    };
broken:
    atomic {                          /* server_lost */
        if
        :: fill -> landed()
        :: else
        fi;
        printf("reader %d: server_lost\n", r);
        sessions--;
        upstream_lost();
        goto connect_again
    };
next:
    atomic { before = 0; value = 0; counters = 0; fill = false }
#ifdef CRASH
    ;
    if
    :: reader_lost[r] -> goto broken
    :: !reader_lost[r]
    :: reader_lost[r]                 /* not yet seen */
    fi
#endif
    od;
connect_again:
#ifdef CRASH
    serving; goto connect
#else
    skip
#endif
    }
}

/* ---- What goes wrong ------------------------------------------------------------------------ */

#ifdef LOSS
proctype Loss() {
    byte i;
    select(i : 0 .. WRITERS - 1);
    atomic { link_lost[i] = true; printf("network: the link of writer %d breaks\n", i) }
}
#endif

#ifdef CRASH
proctype Crash() {
    byte i;
    atomic {
        serving = false;
        incarnation++;
        visible = durable;
        logged = durable;
        row_locked = false;
        floor_ = (floor_ < durable -> floor_ : durable);
        for (i : 0 .. WRITERS - 1) { link_lost[i] = true }
        for (i : 0 .. READERS - 1) { reader_lost[i] = true }
        i = 0;
        printf("PostgreSQL: crash, back to version %d\n", durable)
    };
    atomic { noticed || sessions == 0 -> serving = true; printf("PostgreSQL: serves again\n") }
}
#endif

#if defined(LOSS) || defined(CRASH)
active proctype Watch() {             /* F8: Howdah's own login identifies the server */
end:
    do
    :: atomic { suspended && serving ->
        if
#ifndef F8_SAME_SERVER_ASSUMED
        :: identity != incarnation ->
            identity = incarnation;
            evict();                  /* epoch */
            started++;
            finished = finished + 2;
            printf("Howdah: identity_seen, another server: epoch\n")
        :: identity == incarnation -> started--;
            printf("Howdah: identity_seen, the same server\n")
#else
        :: identity = incarnation; started--
#endif
        fi;
        suspended = false
    }
    od
}
#endif

#ifdef DDL
inline install() {
    known_reaches = reaches;
#ifndef F12_NO_WIDENING
    byte j;
    for (j : 0 .. WRITERS - 1) { widen(j) }
#endif
    evict();
    printf("Howdah: install\n")
}

proctype Schema() {                   /* CREATE TRIGGER, or the replacement of its function */
    atomic { schema_fence = true; started++; printf("schema: dispatch, the fence is up\n") };
    atomic { reaches = true; printf("PostgreSQL: from now on the write reaches the register\n") };
    printf("schema: ReadyForQuery\n");
#ifdef F12_LOWER_BEFORE_CATALOG
    atomic { evict(); finished++; schema_fence = false };
    atomic { install() }
#else
    atomic { install() };
    atomic { evict(); finished++; schema_fence = false; printf("schema: schema_down\n") }
#endif
}
#endif

#ifdef OLD
bool old_ended = false;

proctype OldBackend() {               /* F11: a COMMIT that an earlier Howdah has sent */
    byte version;
    atomic { !row_locked -> row_locked = true };
    commit(version);
    old_ended = true
}

proctype StartGate() {
    atomic { old_ended -> evict(); finished++; printf("Howdah: end_start_gate\n") }
}
#endif

#ifdef STREAM
#include "stream.pml"
#endif

init {
    byte i;
    atomic {
#ifdef STREAM
        run External(COMMITS);
        for (i : 0 .. READERS - 1) { run StreamReader(i) }
#else
#ifdef DDL
        reaches = false; known_reaches = false;
        run Schema();
#endif
#ifdef OLD
#ifndef F11_NO_START_GATE
        started = 1;
        run StartGate();
#endif
        run OldBackend();
#endif
        for (i : 0 .. WRITERS - 1) { run Backend(i); run WriterSession(i) }
        for (i : 0 .. READERS - 1) { run Reader(i) }
#ifdef LOSS
        run Loss();
#endif
#ifdef CRASH
        run Crash();
#endif
#endif
        i = 0
    }
}
