-- How far alerts have read what others find: committed with the transitions that come of it. All times are nanoseconds since 1970.
CREATE TABLE event_cursors (
    source   TEXT PRIMARY KEY,
    position INTEGER NOT NULL -- events up to this one have had their effect
) STRICT;

-- Events that count from another moment than the one at which they were stored: the host was down then, or its clock was ahead.
CREATE TABLE event_arrivals (
    id         INTEGER PRIMARY KEY, -- of two about the same event the later one holds
    source     TEXT NOT NULL,
    first      INTEGER NOT NULL,    -- position of the first such event
    last       INTEGER NOT NULL,    -- and of the last
    arrived_at INTEGER NOT NULL,
    latest     INTEGER NOT NULL     -- the later of that and of when the last of them was stored
) STRICT;
