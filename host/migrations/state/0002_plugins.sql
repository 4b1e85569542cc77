-- What the operator decided about plugins at run time.
CREATE TABLE plugins (
    name       TEXT PRIMARY KEY,
    decision   TEXT NOT NULL, -- JSON
    decided_at INTEGER NOT NULL
) STRICT;
