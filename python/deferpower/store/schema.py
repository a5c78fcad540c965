"""The tables, as one script for each version of the schema."""

from __future__ import annotations

_TASKS = """
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) WITHOUT ROWID;

-- What is to be done and how, and what it asks of the machine: each distinct text once. A spec
-- that no task is of is deleted, but for the newest: the next id follows it.
CREATE TABLE specs (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);
CREATE TABLE lanes (id INTEGER PRIMARY KEY, text TEXT NOT NULL UNIQUE);

CREATE TABLE workers (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_namespace TEXT NOT NULL,
    started TEXT NOT NULL
);

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY,
    -- Of specs. No foreign key: each spec deleted would be looked for in every task.
    spec INTEGER NOT NULL,
    state INTEGER NOT NULL,
    lane INTEGER,
    priority INTEGER NOT NULL,
    created_s REAL NOT NULL,
    -- Since when it is in its state; NULL since it was created.
    since_s REAL,
    due_s REAL NOT NULL,
    -- A moment of the wall clock that was asked for; it stays when the clock is set.
    not_before_s REAL,
    life_s REAL,
    wake_s REAL,
    payload TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    crashes INTEGER NOT NULL DEFAULT 0,
    worker INTEGER,
    asked INTEGER NOT NULL DEFAULT 0,
    blockers INTEGER NOT NULL DEFAULT 0,
    unique_key TEXT,
    started_s REAL,
    finished_s REAL,
    result TEXT,
    error TEXT,
    checkpoint TEXT,
    note TEXT,
    metadata TEXT
);

-- Each index holds only the tasks that it is for, so that a task pays for where it is.
-- Ready to start once the machine agrees: claimed from here, whatever else is parked.
CREATE INDEX tasks_lane ON tasks (lane, priority DESC, due_s) WHERE lane IS NOT NULL;
-- Those that killed their worker once are claimed one at a time.
CREATE INDEX tasks_suspect ON tasks (lane, priority DESC, due_s)
    WHERE lane IS NOT NULL AND crashes > 0;
-- Touched when their moment comes: due, a preference dropped, the deadline.
CREATE INDEX tasks_wake ON tasks (wake_s) WHERE wake_s IS NOT NULL;
CREATE INDEX tasks_worker ON tasks (worker) WHERE worker IS NOT NULL;
CREATE INDEX tasks_finished ON tasks (state, finished_s) WHERE finished_s IS NOT NULL;
CREATE INDEX tasks_unique ON tasks (unique_key) WHERE unique_key IS NOT NULL AND finished_s IS NULL;

-- A task that waits for another to succeed, or (any_end) to end in whatever way. place: among the
-- results that are handed on; below 0 if this one's is not.
CREATE TABLE links (
    before INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    after INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    place INTEGER NOT NULL,
    any_end INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (before, after)
) WITHOUT ROWID;
CREATE INDEX links_after ON links (after, place);

-- What went wrong in an attempt; one that succeeded leaves its result in the task.
CREATE TABLE failures (
    task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    attempt INTEGER NOT NULL,
    started_s REAL,
    ended_s REAL NOT NULL,
    error TEXT NOT NULL,
    PRIMARY KEY (task, attempt, ended_s)
) WITHOUT ROWID;

-- Output of commands, in pieces.
CREATE TABLE logs (
    task INTEGER NOT NULL REFERENCES tasks ON DELETE CASCADE,
    place INTEGER NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (task, place)
) WITHOUT ROWID;
"""

_SYNC = """
-- Where items go, by the name that the program gave the queue, and how that place fares.
CREATE TABLE sync_queues (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    target TEXT NOT NULL,
    items INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0,
    last_item INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    paused_until_s REAL NOT NULL DEFAULT 0,
    error TEXT,
    delivered_s REAL
);

CREATE TABLE sync_senders (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    boot_id TEXT NOT NULL,
    pid INTEGER NOT NULL,
    pid_namespace TEXT NOT NULL,
    started TEXT NOT NULL
);

-- Numbers come from last_item of the queues and are never used again: AUTOINCREMENT would write
-- one page more. Content that is NULL lies in a file named after the token.
CREATE TABLE sync_items (
    id INTEGER PRIMARY KEY,
    queue INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    state INTEGER NOT NULL,
    width INTEGER,
    key TEXT,
    token BLOB NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    queued_s REAL NOT NULL,
    due_s REAL NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    failures INTEGER NOT NULL DEFAULT 0,
    sender INTEGER,
    error TEXT,
    content
);

-- Sent in batches; and those with which something went wrong, in smaller ones and later.
CREATE INDEX sync_items_fresh ON sync_items (queue, priority, id)
    WHERE state = 0 AND width IS NULL;
CREATE INDEX sync_items_suspect ON sync_items (queue, due_s)
    WHERE state = 0 AND width IS NOT NULL;
CREATE INDEX sync_items_sender ON sync_items (sender) WHERE sender IS NOT NULL;
CREATE INDEX sync_items_dead ON sync_items (queue, id) WHERE state = 2;
CREATE INDEX sync_items_key ON sync_items (queue, key) WHERE key IS NOT NULL;
CREATE INDEX sync_items_file ON sync_items (token) WHERE content IS NULL;
"""

_HISTORY = """
-- What was seen of the device, in slots of 5 minutes.
CREATE TABLE history (
    start_s INTEGER PRIMARY KEY,
    seconds REAL NOT NULL,
    utc_offset_s INTEGER,
    percent REAL,
    plugged INTEGER,
    activity REAL
);
"""

MIGRATIONS = (_TASKS + _SYNC + _HISTORY,)
"""``MIGRATIONS[n]`` leads from version n to version n + 1."""
