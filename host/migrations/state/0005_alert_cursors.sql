-- How far alerts have read what others find: committed with the transitions that come of it. All times are nanoseconds since 1970.
CREATE TABLE event_cursors (
    source   TEXT PRIMARY KEY,
    position INTEGER NOT NULL, -- events up to this one have had their effect
    saved_at INTEGER NOT NULL
) STRICT;

-- Events that count from another moment than the one at which they were stored. The rows about an event hold one after the other.
CREATE TABLE event_arrivals (
    id         INTEGER PRIMARY KEY,
    source     TEXT NOT NULL,
    first      INTEGER NOT NULL, -- position of the first such event
    last       INTEGER NOT NULL, -- and of the last
    arrived_at INTEGER,          -- when they were read, the host having been down when they were stored
    ahead      INTEGER,          -- or by how much the clock was ahead then
    latest     INTEGER NOT NULL, -- until then and a window more this matters
    CHECK ((arrived_at IS NULL) <> (ahead IS NULL))
) STRICT;
