-- Where to go on in an input that is not a file but says so in words of its own, such as journald's cursor; empty for files.
ALTER TABLE file_offsets ADD COLUMN cursor TEXT NOT NULL DEFAULT '';
