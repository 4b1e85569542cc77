-- What analyzers found, and how far each has read. All times are nanoseconds since 1970.

-- Rules read them by position, which is never used twice.
CREATE TABLE findings (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    ongoing     INTEGER NOT NULL, -- position of the first finding of what is still going on
    at          INTEGER NOT NULL, -- when it was stored
    plugin      TEXT NOT NULL,
    rule        TEXT NOT NULL,
    severity    INTEGER NOT NULL, -- OpenTelemetry's number
    title       TEXT NOT NULL,
    message     TEXT NOT NULL,
    dedupe_key  TEXT NOT NULL,
    score       REAL NOT NULL,
    count       INTEGER NOT NULL,
    first_seq   INTEGER NOT NULL, -- 0 if unknown, as the next three
    last_seq    INTEGER NOT NULL,
    first_time  INTEGER NOT NULL,
    last_time   INTEGER NOT NULL,
    sample_seqs TEXT NOT NULL,    -- JSON list
    labels      TEXT NOT NULL     -- JSON object
) STRICT;
CREATE INDEX findings_by_key ON findings (plugin, rule, dedupe_key, position);
CREATE INDEX findings_by_time ON findings (at);

-- One row an analyzer: committed with the findings of the records up to the cursor.
CREATE TABLE consumers (
    plugin        TEXT PRIMARY KEY,
    began         INTEGER NOT NULL, -- the cursor that it began with
    cursor        INTEGER NOT NULL,
    watermark     INTEGER NOT NULL,
    state         BLOB,             -- null as long as nothing was saved
    state_version INTEGER NOT NULL,
    component     TEXT NOT NULL,    -- SHA-256 of the component that saved it
    updated_at    INTEGER NOT NULL
) STRICT;

-- What analyzers keep.
CREATE TABLE kv (
    plugin     TEXT NOT NULL,
    key        TEXT NOT NULL,
    value      BLOB NOT NULL,
    expires_at INTEGER, -- null for never
    PRIMARY KEY (plugin, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kv_by_expiry ON kv (plugin, expires_at) WHERE expires_at IS NOT NULL;

-- Records that an analyzer could not take.
CREATE TABLE quarantine (
    plugin TEXT NOT NULL,
    seq    INTEGER NOT NULL,
    why    TEXT NOT NULL,
    at     INTEGER NOT NULL,
    PRIMARY KEY (plugin, seq)
) STRICT, WITHOUT ROWID;
CREATE INDEX quarantine_by_time ON quarantine (at);
