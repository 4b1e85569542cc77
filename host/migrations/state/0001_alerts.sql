-- Alerts, their groups, and the notifications made of them. All times are nanoseconds since 1970.

-- Rules made through the API.
CREATE TABLE rules (
    name       TEXT PRIMARY KEY,
    body       TEXT NOT NULL, -- JSON, as in the configuration file
    created_at INTEGER NOT NULL
) STRICT;

-- Pending and firing alerts, and the last `max_alerts` resolved ones.
CREATE TABLE alerts (
    fingerprint  TEXT PRIMARY KEY,
    rule         TEXT NOT NULL,
    labels       TEXT NOT NULL, -- JSON object
    annotations  TEXT NOT NULL, -- JSON object
    level        TEXT NOT NULL,
    condition    TEXT NOT NULL, -- in words
    threshold    REAL NOT NULL,
    state        TEXT NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    since        INTEGER NOT NULL, -- of the state
    fired_at     INTEGER,          -- last time; null if it never fired
    last_held_at INTEGER,          -- while firing: when the condition ceased to hold; null while it holds
    resolved_at  INTEGER,          -- last time; null if it never did
    value        REAL
) STRICT;
CREATE INDEX alerts_by_state ON alerts (state, resolved_at);

CREATE TABLE alert_history (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    fingerprint TEXT NOT NULL,
    rule        TEXT NOT NULL,
    labels      TEXT NOT NULL,
    level       TEXT NOT NULL,
    at          INTEGER NOT NULL,
    state       TEXT NOT NULL, -- pending, firing, resolved, inactive (was pending)
    value       REAL,
    reason      TEXT NOT NULL
) STRICT;
CREATE INDEX alert_history_by_alert ON alert_history (fingerprint, position);
CREATE INDEX alert_history_by_time ON alert_history (at);

-- Alerts that are told together to one receiver.
CREATE TABLE groups (
    key              TEXT PRIMARY KEY, -- receiver and group labels
    receiver         TEXT NOT NULL,
    labels           TEXT NOT NULL,    -- JSON object
    generation       INTEGER NOT NULL, -- of its last notification
    flush_at         INTEGER,          -- next look at who is to be told; null if nothing is pending
    last_notified_at INTEGER
) STRICT;
CREATE INDEX groups_by_flush ON groups (flush_at) WHERE flush_at IS NOT NULL;

-- What each group's receiver has been told of each alert: the notification log.
CREATE TABLE group_alerts (
    group_key   TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    open        INTEGER NOT NULL, -- told (or queued to be told) that it fires, not yet that it has resolved
    delivered   INTEGER NOT NULL, -- a notification that it fires has arrived
    since       INTEGER,          -- since when it fired, as told
    told_at     INTEGER,          -- last notification that it fires: the cooldown counts from here
    PRIMARY KEY (group_key, fingerprint)
) STRICT, WITHOUT ROWID;
CREATE INDEX group_alerts_by_alert ON group_alerts (fingerprint);

-- Why somebody was told, and why not.
CREATE TABLE decisions (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    group_key   TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    at          INTEGER NOT NULL,
    decision    TEXT NOT NULL CHECK (decision IN ('notify', 'suppress')),
    reason      TEXT NOT NULL,
    until       INTEGER, -- when a suppression ends by itself
    outbox_id   TEXT
) STRICT;
CREATE INDEX decisions_by_alert ON decisions (fingerprint, position);

CREATE TABLE outbox (
    position        INTEGER PRIMARY KEY AUTOINCREMENT, -- first in, first out
    id              TEXT NOT NULL UNIQUE,              -- idempotency key
    receiver        TEXT NOT NULL,
    group_key       TEXT NOT NULL,
    generation      INTEGER NOT NULL,
    payload         TEXT NOT NULL, -- JSON notification
    state           TEXT NOT NULL CHECK (state IN ('queued', 'delivered', 'dead', 'superseded')),
    attempts        INTEGER NOT NULL,
    next_attempt_at INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    first_queued_at INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    settled_at      INTEGER,
    last_error      TEXT
) STRICT;
CREATE INDEX outbox_queued ON outbox (receiver, position) WHERE state = 'queued';
CREATE INDEX outbox_by_group ON outbox (group_key, state);

CREATE TABLE outbox_alerts (
    fingerprint TEXT NOT NULL,
    outbox_id   TEXT NOT NULL,
    PRIMARY KEY (fingerprint, outbox_id)
) STRICT, WITHOUT ROWID;

-- What became of each attempt to deliver.
CREATE TABLE receipts (
    outbox_id TEXT NOT NULL,
    attempt   INTEGER NOT NULL,
    at        INTEGER NOT NULL,
    outcome   TEXT NOT NULL, -- delivered, retry, credentials, dead
    detail    TEXT NOT NULL,
    PRIMARY KEY (outbox_id, attempt)
) STRICT, WITHOUT ROWID;
