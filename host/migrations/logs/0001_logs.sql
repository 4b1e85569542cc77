-- One file holds the records that arrived on one UTC day.
CREATE TABLE blocks (
  first_seq    INTEGER PRIMARY KEY,
  last_seq     INTEGER NOT NULL,
  day          INTEGER NOT NULL,  -- event day of all its records, days since 1970
  level        INTEGER NOT NULL,  -- how often it was merged
  rows         INTEGER NOT NULL,
  min_time     INTEGER NOT NULL,  -- event time, nanoseconds
  max_time     INTEGER NOT NULL,
  max_observed INTEGER NOT NULL,
  severities   INTEGER NOT NULL,  -- bit n: a record of severity n
  services     TEXT    NOT NULL,  -- JSON list of service.name, "" for none
  raw_bytes    INTEGER NOT NULL,  -- bodies and attribute values before compression
  created_at   INTEGER NOT NULL,
  filter       BLOB    NOT NULL,  -- token filter; empty: none
  data         BLOB    NOT NULL
) STRICT;
CREATE INDEX blocks_last_seq ON blocks (last_seq);

-- How far each tailed file has been read: beside the lines, in their transaction.
CREATE TABLE file_offsets (
  path        TEXT    NOT NULL,
  device      INTEGER NOT NULL,
  inode       INTEGER NOT NULL,
  offset      INTEGER NOT NULL,
  fingerprint INTEGER NOT NULL,
  PRIMARY KEY (path, device, inode)
) STRICT;

-- Where the sequence stood when the file was made: it goes on from there even if every earlier file has been dropped.
CREATE TABLE start (next_seq INTEGER NOT NULL) STRICT;
