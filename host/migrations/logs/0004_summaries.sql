-- What a block holds, counted by minute, severity, service and pattern, so that counting need not read it.
-- A block without one (it would be larger than it is worth, or an older version wrote it) is counted by reading it.
CREATE TABLE summaries (
  first_seq INTEGER PRIMARY KEY REFERENCES blocks (first_seq) ON DELETE CASCADE,
  data      BLOB NOT NULL
) STRICT;
