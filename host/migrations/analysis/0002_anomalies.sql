-- What is counted of the log to tell what is unusual in it, and what was. Windows are five minutes, counted from 1970.

-- How far the log has been counted, and judged; one row.
CREATE TABLE anomaly_progress (
    id        INTEGER PRIMARY KEY CHECK (id = 1),
    cursor    INTEGER NOT NULL, -- everything up to here is counted
    time      INTEGER NOT NULL, -- nanoseconds: no record that arrived later is counted
    judged_at INTEGER NOT NULL, -- seconds: when windows were judged last
    kept      TEXT NOT NULL     -- JSON: what the detectors remember of the last windows
) STRICT;

-- `service.name`s.
CREATE TABLE anomaly_sources (
    id          INTEGER PRIMARY KEY,
    name        TEXT NOT NULL UNIQUE,
    first       INTEGER NOT NULL, -- window
    last        INTEGER NOT NULL, -- window
    seq         INTEGER NOT NULL, -- position of its last record
    recent      REAL NOT NULL,    -- records of about a day, and those of them that came late
    late        REAL NOT NULL,
    tracked     INTEGER NOT NULL, -- patterns that are counted each
    known_below INTEGER NOT NULL, -- patterns with lower ids are not new
    crowded     INTEGER NOT NULL
) STRICT;

-- Patterns that are counted each.
CREATE TABLE anomaly_series (
    source    INTEGER NOT NULL,
    pattern   INTEGER NOT NULL,
    first     INTEGER NOT NULL, -- window
    last      INTEGER NOT NULL, -- window
    severity  INTEGER NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    total     INTEGER NOT NULL,
    looked_at INTEGER NOT NULL, -- whether it has been decided whether it is news
    PRIMARY KEY (source, pattern)
) STRICT, WITHOUT ROWID;

-- Counts of each window of a day. `key` is a pattern, or -1 for all records of the source, -2 for errors, -3 for further patterns.
CREATE TABLE anomaly_days (
    day    INTEGER NOT NULL, -- counted from 1970
    source INTEGER NOT NULL,
    key    INTEGER NOT NULL,
    counts BLOB NOT NULL,
    PRIMARY KEY (day, source, key)
) STRICT, WITHOUT ROWID;

-- What was unusual.
CREATE TABLE anomalies (
    id        INTEGER PRIMARY KEY,
    detector  TEXT NOT NULL,
    direction TEXT NOT NULL,
    source    INTEGER NOT NULL,
    key       INTEGER NOT NULL,
    since     INTEGER NOT NULL, -- window
    last      INTEGER NOT NULL, -- window
    until     INTEGER,          -- window; null while it goes on
    told      INTEGER NOT NULL, -- window
    severity  INTEGER NOT NULL,
    evidence  TEXT NOT NULL,    -- JSON
    first_seq INTEGER NOT NULL,
    last_seq  INTEGER NOT NULL,
    count     INTEGER NOT NULL,
    patterns  TEXT NOT NULL,    -- JSON list
    template  TEXT NOT NULL,
    line      TEXT NOT NULL     -- a sample
) STRICT;
CREATE INDEX anomalies_by_time ON anomalies (last);

-- What nobody wants to hear of.
CREATE TABLE anomaly_mutes (
    detector TEXT NOT NULL,
    source   INTEGER NOT NULL,
    key      INTEGER NOT NULL,
    muted_at INTEGER NOT NULL, -- nanoseconds
    PRIMARY KEY (detector, source, key)
) STRICT, WITHOUT ROWID;
