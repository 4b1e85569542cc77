-- Numbers that are never given out twice: those below `next` may be in use.
CREATE TABLE id_ranges (
    kind TEXT PRIMARY KEY,
    next INTEGER NOT NULL
) STRICT;
