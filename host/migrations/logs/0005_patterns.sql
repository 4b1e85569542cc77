-- Every id that a block of this file names has its row here, and so have those of earlier days that are still in use.
-- Whoever rewrites a file copies both tables as they are.
CREATE TABLE patterns (
  id         INTEGER PRIMARY KEY,
  service    TEXT,              -- service.name, "" for none; NULL: shared by the sources beyond the bound
  template   TEXT    NOT NULL,
  state      BLOB    NOT NULL,  -- what mining needs to know its lines again
  sample     TEXT    NOT NULL,  -- a line of it, of the day on which it was last used
  first_seen INTEGER NOT NULL,  -- event time of its first line, nanoseconds
  used       INTEGER NOT NULL   -- last day of arrival, days since 1970
) STRICT;
CREATE INDEX patterns_service ON patterns (service);

-- What turned out to be one pattern: only added to.
CREATE TABLE pattern_merges (
  from_id INTEGER PRIMARY KEY,
  into_id INTEGER NOT NULL,
  day     INTEGER NOT NULL
) STRICT;
