-- Token filters of large blocks, in parts: a search for a word reads one part of each and not all of it.
-- `blocks.filter` then holds only how large the filter is. Part n of the block that begins at `first_seq` has the id first_seq * 4096 + n.
CREATE TABLE filter_parts (
  id   INTEGER PRIMARY KEY,
  data BLOB NOT NULL
) STRICT;
CREATE TRIGGER filter_parts_go AFTER DELETE ON blocks WHEN length(OLD.filter) = 9 BEGIN
  DELETE FROM filter_parts WHERE id >= OLD.first_seq * 4096 AND id < (OLD.first_seq + 1) * 4096;
END;
