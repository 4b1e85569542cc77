-- When a tailed file was last read, nanoseconds: rows of files that are long gone are not copied into the next day.
ALTER TABLE file_offsets ADD COLUMN updated_at INTEGER NOT NULL DEFAULT 0;
