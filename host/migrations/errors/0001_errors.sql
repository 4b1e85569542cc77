-- Error events that were stored on one UTC day.
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    issue    TEXT NOT NULL,
    seq      INTEGER NOT NULL,
    packed   INTEGER NOT NULL, -- whether `data` is compressed with zstd
    data     BLOB NOT NULL     -- JSON
) STRICT;
CREATE INDEX events_by_issue ON events (issue, position);

-- One row: the events of all log records up to here are stored. Their counts, in another file, may not be yet.
CREATE TABLE applied (
    id  INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL
) STRICT;
