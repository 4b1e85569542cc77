-- Bundles of minified files and their source maps, as sentry-cli uploads them.
CREATE TABLE bundles (
    id          INTEGER PRIMARY KEY,
    checksum    TEXT NOT NULL,    -- SHA-1 of the bundle, 40 hexadecimal digits
    release     TEXT NOT NULL,    -- empty: found by debug id alone
    dist        TEXT NOT NULL,
    project     TEXT NOT NULL,
    uploaded_at INTEGER NOT NULL, -- nanoseconds since 1970
    used_at     INTEGER NOT NULL,
    UNIQUE (checksum, release, dist)
) STRICT;

CREATE TABLE files (
    bundle     INTEGER NOT NULL REFERENCES bundles (id),
    url        TEXT NOT NULL,
    is_map     INTEGER NOT NULL, -- else it is a minified file
    debug_id   TEXT NOT NULL,    -- 32 hexadecimal digits, or empty
    source_map TEXT NOT NULL,    -- where the bundle says that its map is; may be empty
    content    BLOB NOT NULL,    -- SHA-256 of the content
    bytes      INTEGER NOT NULL
) STRICT;
CREATE INDEX files_of_bundle ON files (bundle);
CREATE INDEX files_by_debug_id ON files (debug_id, is_map) WHERE debug_id <> '';
CREATE INDEX files_by_url ON files (url, is_map);
CREATE INDEX files_by_content ON files (content);

-- Each content once, whatever bundles have it.
CREATE TABLE contents (
    sha256 BLOB PRIMARY KEY,
    bytes  INTEGER NOT NULL,
    stored INTEGER NOT NULL, -- length of `data`
    data   BLOB NOT NULL     -- zstd
) STRICT;

-- Parts of bundles that are on their way.
CREATE TABLE chunks (
    sha1  TEXT PRIMARY KEY,
    at    INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    data  BLOB NOT NULL
) STRICT;
CREATE INDEX chunks_by_age ON chunks (at);
