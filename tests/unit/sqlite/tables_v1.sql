-- The tables of version 1, as its code made them.
CREATE TABLE meta (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE job (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
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
    left_out INTEGER
);
CREATE INDEX job_ready ON job (queue, rank, seq, run_at, state) WHERE state = 'queued';
CREATE INDEX job_due ON job (run_at, seq, state) WHERE state = 'scheduled';
CREATE INDEX job_held ON job (seq, state) WHERE state = 'held';
CREATE INDEX job_running ON job (worker, seq) WHERE state = 'running';
CREATE INDEX job_parked ON job (task, parked_for, seq, state) WHERE state = 'parked';
CREATE INDEX job_finished ON job (finished_at, seq, state)
WHERE state IN ('succeeded', 'failed', 'cancelled');
CREATE UNIQUE INDEX job_unique ON job (unique_key)
WHERE state IN ('held', 'scheduled', 'queued', 'running', 'parked')
AND unique_key IS NOT NULL;
CREATE TABLE log (
    job TEXT NOT NULL,
    id INTEGER NOT NULL,
    at INTEGER NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (job, id)
) WITHOUT ROWID;
CREATE TABLE worker (
    id TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    boot TEXT NOT NULL,
    beat REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE paused (queue TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE hinted (
    queue TEXT PRIMARY KEY,
    at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE schedule (
    name TEXT PRIMARY KEY,
    last_due INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO meta VALUES ('identity', 'sqlite-0123456789abcdef');
PRAGMA application_id = 1179415666;
PRAGMA user_version = 1;
