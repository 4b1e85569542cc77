-- Issues: error events that are the same error. All times are nanoseconds since 1970.

CREATE TABLE issues (
    id           TEXT PRIMARY KEY, -- the fingerprint's first 16 digits
    fingerprint  TEXT NOT NULL,
    service      TEXT NOT NULL,
    kind         TEXT NOT NULL,    -- class of the exception
    title        TEXT NOT NULL,    -- these three as of the last occurrence
    culprit      TEXT NOT NULL,
    severity     INTEGER NOT NULL,
    status       TEXT NOT NULL CHECK (status IN ('unresolved', 'resolved', 'ignored')),
    first_seen   INTEGER NOT NULL, -- event time
    last_seen    INTEGER NOT NULL,
    count        INTEGER NOT NULL,
    first_seq    INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL,
    resolved_at  INTEGER,
    resolved_seq INTEGER,          -- what had been stored by then: only what came later is a regression
    grouping     TEXT NOT NULL,    -- JSON: what went into the fingerprint
    sample       TEXT NOT NULL     -- JSON: the last occurrence
) STRICT;
CREATE INDEX issues_by_last_seen ON issues (last_seen);
CREATE INDEX issues_by_status ON issues (status, last_seen);

-- Occurrences by the hour of their event time: hours since 1970.
CREATE TABLE issue_hours (
    issue TEXT NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    hour  INTEGER NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (issue, hour)
) STRICT, WITHOUT ROWID;
CREATE INDEX issue_hours_by_hour ON issue_hours (hour);

-- What happened to issues, for rules and for people. Rows tell all that is said of them: an issue may be forgotten before.
CREATE TABLE issue_events (
    position INTEGER PRIMARY KEY AUTOINCREMENT,
    issue    TEXT NOT NULL,
    at       INTEGER NOT NULL, -- when it was stored
    kind     TEXT NOT NULL,    -- new, regressed
    severity INTEGER NOT NULL,
    service  TEXT NOT NULL,
    type     TEXT NOT NULL,
    title    TEXT NOT NULL,
    culprit  TEXT NOT NULL,
    count    INTEGER NOT NULL
) STRICT;
CREATE INDEX issue_events_by_issue ON issue_events (issue, position);
CREATE INDEX issue_events_by_time ON issue_events (at);

-- One row: the log has been read up to here.
CREATE TABLE errors_cursor (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
