/* With a stream: other writers commit past Howdah, which sees the log. Part of howdah.pml.
 *
 * The log's positions are the versions of the register. A commit record can be streamed before
 * the version is visible, so that a fill compares its snapshot with what was streamed (F5), and
 * not a position. In the contract `strict` each read polls the position of the log and waits
 * for it. With LEASE it is `bounded`: a hit is at most BOUND ticks behind (F7).
 */

#ifndef COMMITS
#define COMMITS 2
#endif
#define BOUND 1
#define TICKS 3

byte position = 0;                    /* F6: up to here the log is applied */
bool pending[COMMITS + 1];            /* streamed, not yet seen visible */
byte fills = 0;                       /* in flight */
byte epoch_ = 0;
byte clock_ = 0, fresh = 0;              /* F7 */
byte history[TICKS + 1];              /* what was visible when each tick began */
bool streaming = true;

proctype External(byte count) {       /* writers past Howdah, one after the other */
    byte version;
    do
    :: count > 0 ->
        atomic { !row_locked -> row_locked = true };
        commit(version);
        atomic {
            printf("external: version %d is acknowledged\n", version);
#ifndef LEASE
            floor_ = MAX(floor_, version);
#endif
            count--
        }
    :: else -> break
    od
}

inline evict_streamed(version) {
    if
    :: entry && entry_snapshot < version -> evict()
    :: else
    fi
}

#define seen (position > 0 && pending[position] && visible >= position)
#ifdef F6_PRUNE_UNDER_FILL
#define prunable seen
#else
#define prunable (seen && fills == 0)
#endif

active proctype Stream() {
end:
    do
    :: atomic { streaming && position < logged ->
#ifdef F6_POSITION_BEFORE_EVICTION
        position++; pending[position] = true
    };
    atomic {
        evict_streamed(position)
#else
        evict_streamed(position + 1);
        pending[position + 1] = true;
        position++;
#endif
        printf("stream: version %d, evict, position\n", position)
    }
    :: atomic {                       /* an observed snapshot sees the oldest one */
        prunable -> pending[position] = false; printf("stream: pending is pruned\n")
    }
#ifdef STREAM_LOSS
    :: atomic { streaming -> streaming = false; printf("stream: lost\n");
#ifndef F8_STREAM_LOSS_IGNORED
        epoch_++; evict()
#endif
    };
    atomic { visible == logged ->     /* a new slot */
        position = logged;
        pending[0] = false; pending[1] = false; pending[COMMITS] = false;
        streaming = true;
        printf("stream: a new slot\n") };
    break
#endif
    od
#ifdef STREAM_LOSS
    ;
end_again:
    do
    :: atomic { position < logged ->
        evict_streamed(position + 1); pending[position + 1] = true; position++ }
    :: atomic { prunable ->
        pending[position] = false }
    od
#endif
}

#ifdef LEASE
active proctype Clock() {
    do
    :: atomic { clock_ < TICKS -> clock_++; history[clock_] = visible; printf("clock: %d\n", clock_) }
    :: clock_ == TICKS -> break
    od
}

active proctype Lease() {
    byte sent, asked;
end:
    do
    :: sent = clock_;                    /* the poll leaves */
       asked = logged;
       atomic { position >= asked ->
#ifdef F7_FRESH_AT_ANSWER
        fresh = clock_;
#else
        fresh = sent;
#endif
        sent = 0; asked = 0; printf("lease: fresh as of %d\n", fresh) }
    od
}
#endif

/* F5: every pending transaction is visible in the snapshot. */
#define gate(s) (!(pending[1] && s < 1) && !(pending[COMMITS] && s < COMMITS))

proctype StreamReader(byte r) {
    byte before, value, snapshot, asked, at, late;
end:
    do
    :: atomic { before = floor_; at = epoch_ };
#ifndef LEASE
#ifdef F7_EARLIER_READ_INDEX
        skip;
#else
        asked = logged;               /* strict: a poll that begins after the read */
#endif
        if
        :: position >= asked
        :: goto forward
        fi;
#endif
        atomic {
            if
#ifdef LEASE
#ifdef F7_NO_LEASE
            :: entry && streaming ->
#else
            :: entry && streaming && clock_ - fresh <= BOUND ->
#endif
                late = (clock_ >= BOUND -> history[clock_ - BOUND] : 0);
                printf("reader %d: hit, version %d at %d\n", r, entry_value, clock_);
                assert(entry_value >= late);
                assert(entry_value <= visible);
                goto next
#else
            :: entry && streaming ->
                printf("reader %d: hit, version %d\n", r, entry_value);
                promise(entry_value, before);
                goto next
#endif
            :: !entry && streaming -> at = epoch_; fills++; printf("reader %d: miss\n", r)
            :: goto forward
            fi
        };
        snapshot = visible;           /* pipelined in front of the query */
#ifdef F5_LSN_GATE
        asked = logged;
#endif
        atomic { value = visible; printf("PostgreSQL: reader %d sees version %d\n", r, value) };
        atomic {                      /* ReadyForQuery */
            fills--;
            if
#ifdef F5_LSN_GATE
            :: position >= asked && at == epoch_ && streaming ->
#else
            :: gate(snapshot) && at == epoch_ && streaming ->
#endif
                entry = true; entry_value = value; entry_snapshot = snapshot;
                STATE(position <= value);                        /* what it lacks is to come */
                printf("reader %d: admit version %d\n", r, value)
            :: else
            fi;
#ifndef LEASE
            promise(value, before);
#endif
            goto next
        };
forward:
        atomic {
            value = visible;
#ifndef LEASE
            promise(value, before)
#endif
        };
next:
        atomic { before = 0; value = 0; snapshot = 0; asked = 0; at = 0; late = 0 }
    od
}
