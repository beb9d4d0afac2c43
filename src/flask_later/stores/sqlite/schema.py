"""The tables, and how those of older files become today's.

A file holds two numbers. ``tables`` in its table ``meta`` is the version of its tables. The
``user_version`` in its header is the oldest version of this code that can work with them. So new
code may add to the tables while old processes still run: a column that has a default, a table, an
index. Only what old code cannot live with raises the second number.
"""

from __future__ import annotations

from datetime import UTC, datetime

from flask_later.stores.columns import to_micros

#: In the file's header: what the file is ("FLtr").
APPLICATION_ID = 0x464C7472
#: Bytes of a page. A job changes three at least, and each is written whole: to the WAL at once, and
#: to the database by a checkpoint, while nobody else writes. Smaller ones hold too few rows.
PAGE_SIZE = 2048
#: The version of these tables, and of the code that knows them.
VERSION = 6
#: The oldest code that can work with them. That of version 3 counts what waits in another way.
OLDEST_CODE = 4

#: What to do with a file of an older version, by the version that it has then. What is missing
#: of TABLES after that is made.
MIGRATIONS = {
    2: (
        "ALTER TABLE job ADD COLUMN unique_until TEXT NOT NULL DEFAULT 'finished'",
        "ALTER TABLE job ADD COLUMN key_free_at INTEGER",
        "ALTER TABLE job ADD COLUMN expires_at INTEGER",
        "DROP INDEX job_unique",
        "DROP INDEX job_finished",
        # Its processes do not lock their slots; they register again with their next claim.
        "DROP TABLE worker",
    ),
    # An index more.
    3: (),
    # Made anew, and counted.
    4: ("DROP TABLE IF EXISTS tally",),
    5: (
        "ALTER TABLE job ADD COLUMN progress_at INTEGER",
        "ALTER TABLE job ADD COLUMN principal TEXT",
    ),
    # With another condition.
    6: ("DROP INDEX IF EXISTS job_finished",),
}

# What is counted with has to be a number, whoever writes it: at a row where it is not all would
# stop that come to it, again and again.
_COUNTS = ("priority", "fence", "attempts", "failures", "crashes", "releases")
_INSTANTS = ("created_at", "run_at", "started_at", "finished_at", "scheduled_at", "key_free_at")
_CHECKS = ",\n        ".join(
    [
        *(f"CHECK (typeof({name}) = 'integer')" for name in _COUNTS),
        *(
            f"CHECK ({name} IS NULL OR typeof({name}) = 'integer' AND {name} "
            f"BETWEEN {to_micros(datetime.min.replace(tzinfo=UTC))} "
            f"AND {to_micros(datetime.max.replace(tzinfo=UTC))})"
            for name in (*_INSTANTS, "expires_at", "progress_at", "left_out")
        ),
        "CHECK (typeof(rank) = 'real')",
        "CHECK (timeout IS NULL OR typeof(timeout) = 'real')",
    ]
)

# Every index is partial, so that a job is in the few it needs in its state, and a backlog of one
# kind does not slow down the others. They end in the state because SQLite would look it up in the
# row otherwise, although the index has rows of one state only. No RETURNING, no STRICT: SQLite
# 3.31 is enough.
TABLES = (
    """
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    # seq is the order in which jobs were stored. AUTOINCREMENT would write one page more for each
    # of them, to keep the number of a job that was deleted from coming again. left_out is since
    # when the beats of its worker have not named a running job.
    f"""
    CREATE TABLE job (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        task TEXT NOT NULL,
        queue TEXT NOT NULL,
        payload TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        run_at INTEGER NOT NULL,
        rank REAL NOT NULL,
        priority INTEGER NOT NULL,
        context TEXT NOT NULL,
        timeout REAL,
        unique_key TEXT,
        fence INTEGER NOT NULL,
        attempts INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        crashes INTEGER NOT NULL,
        releases INTEGER NOT NULL,
        worker TEXT,
        started_at INTEGER,
        finished_at INTEGER,
        stop TEXT,
        result TEXT,
        error TEXT,
        progress TEXT,
        parked_for TEXT,
        scheduled_at INTEGER,
        schedule TEXT,
        unique_until TEXT NOT NULL,
        key_free_at INTEGER,
        expires_at INTEGER,
        progress_at INTEGER,
        principal TEXT,
        left_out INTEGER,
        {_CHECKS}
    )
    """,
    "CREATE INDEX job_ready ON job (queue, rank, seq, run_at, state) WHERE state = 'queued'",
    "CREATE INDEX job_due ON job (run_at, seq, state) WHERE state = 'scheduled'",
    "CREATE INDEX job_held ON job (seq, state) WHERE state = 'held'",
    "CREATE INDEX job_running ON job (worker, seq) WHERE state = 'running'",
    "CREATE INDEX job_parked ON job (task, parked_for, seq, state) WHERE state = 'parked'",
    # Not IN: for three values and more SQLite makes a table in memory, 90 KB with each change of a
    # job, in whichever thread makes it. The other indexes ask first whether a column is empty.
    """
    CREATE INDEX job_finished ON job (state, max(finished_at, ifnull(key_free_at, 0)), seq)
    WHERE state = 'succeeded' OR state = 'failed' OR state = 'cancelled'
    """,
    """
    CREATE INDEX job_key ON job (unique_key, seq, state) WHERE unique_key IS NOT NULL
    AND state IN ('held', 'scheduled', 'queued', 'running', 'parked')
    """,
    "CREATE INDEX job_key_free ON job (unique_key, key_free_at) WHERE key_free_at IS NOT NULL",
    """
    CREATE INDEX job_key_kept ON job (unique_key, seq)
    WHERE unique_key IS NOT NULL AND unique_until = 'gone'
    """,
    """
    CREATE INDEX job_principal ON job (principal, state) WHERE principal IS NOT NULL
    AND state IN ('held', 'scheduled', 'queued')
    """,
    """
    CREATE INDEX job_expiring ON job (expires_at, seq) WHERE expires_at IS NOT NULL
    AND attempts = 0 AND state IN ('held', 'scheduled', 'queued', 'parked')
    """,
    """
    CREATE TABLE log (
        job TEXT NOT NULL,
        id INTEGER NOT NULL,
        at INTEGER NOT NULL,
        message TEXT NOT NULL,
        PRIMARY KEY (job, id)
    ) WITHOUT ROWID
    """,
    # slot is the byte that the worker holds of the lock file with that inode; never used twice.
    # beat is the clock's monotonic time, which means something only in its own boot.
    """
    CREATE TABLE worker (
        slot INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        host TEXT NOT NULL,
        pid INTEGER NOT NULL,
        started_at INTEGER NOT NULL,
        boot TEXT NOT NULL,
        beat REAL NOT NULL,
        queues TEXT,
        threads INTEGER NOT NULL DEFAULT 0,
        lock_inode INTEGER
    )
    """,
    # The one row that every transaction reads. others: how many of the numbers up to the last seq
    # are not of jobs that wait. So what waits is counted, and yet a new job, which waits, changes
    # nothing here: that would be a page more to write. listeners: grows with each change of them.
    """
    CREATE TABLE tally (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        others INTEGER NOT NULL,
        listeners INTEGER NOT NULL DEFAULT 0
    )
    """,
    # Processes that want to be woken, see wakeups.py. Each deletes its own row, or others do.
    """
    CREATE TABLE listener (
        address TEXT PRIMARY KEY,
        secret TEXT NOT NULL,
        place TEXT NOT NULL,
        pid INTEGER NOT NULL,
        at INTEGER NOT NULL,
        topics TEXT NOT NULL
    ) WITHOUT ROWID
    """,
    "CREATE TABLE paused (queue TEXT PRIMARY KEY) WITHOUT ROWID",
    # Since when nobody has to hint again at the queue.
    """
    CREATE TABLE hinted (
        queue TEXT PRIMARY KEY,
        at INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
    """
    CREATE TABLE schedule (
        name TEXT PRIMARY KEY,
        last_due INTEGER NOT NULL
    ) WITHOUT ROWID
    """,
)
