-- One UTC day of arrival.
CREATE TABLE series (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    -- The name with everything outside [A-Za-z0-9_:] replaced by `_`.
    normalized TEXT NOT NULL,
    -- JSON: array of [name, value], sorted by name.
    labels TEXT NOT NULL,
    kind TEXT NOT NULL,
    unit TEXT NOT NULL
) STRICT;
CREATE INDEX series_by_name ON series (normalized);

-- What was committed since the last flush, one row per commit.
CREATE TABLE batches (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    points INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;

-- Samples of one series, nanoseconds since 1970. Of two samples of one moment the one with the higher id counts.
CREATE TABLE chunks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    series INTEGER NOT NULL REFERENCES series (id),
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL,
    count INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX chunks_by_series ON chunks (series);

-- Running totals of series that arrive as deltas, as of the last flush; batches since then come on top.
CREATE TABLE totals (
    series INTEGER PRIMARY KEY REFERENCES series (id),
    value REAL
) STRICT;

-- One row: whether totals were carried over from the day before, and the range of event time in `chunks`.
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    carried INTEGER NOT NULL,
    min_time INTEGER NOT NULL,
    max_time INTEGER NOT NULL
) STRICT;
INSERT INTO state VALUES (1, 0, 9223372036854775807, 0);
