-- What is known of an issue beyond its counts, and what people decide about it.

-- A merged issue counts on by itself, so that it can be taken out again as it would have been; it is shown as a part of the other.
ALTER TABLE issues ADD COLUMN merged_into TEXT REFERENCES issues (id) ON DELETE SET NULL;
ALTER TABLE issues ADD COLUMN users BLOB NOT NULL DEFAULT x'';          -- hashes of users, or a sketch of them
ALTER TABLE issues ADD COLUMN assigned_to TEXT NOT NULL DEFAULT '';
ALTER TABLE issues ADD COLUMN resolved_release TEXT NOT NULL DEFAULT ''; -- resolved by this release: older ones do not bring it back
ALTER TABLE issues ADD COLUMN resolved_next INTEGER NOT NULL DEFAULT 0;  -- ... and neither does this one itself
ALTER TABLE issues ADD COLUMN ignored_until INTEGER;                     -- ignored until this time
ALTER TABLE issues ADD COLUMN ignored_count INTEGER;                     -- ignored until it has occurred so often
CREATE INDEX issues_by_merged ON issues (merged_into) WHERE merged_into IS NOT NULL;

-- Which issue an event of a fingerprint belongs to.
CREATE TABLE issue_hashes (
    hash    TEXT PRIMARY KEY,
    issue   TEXT NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    kind    TEXT NOT NULL CHECK (kind IN ('primary', 'secondary')),
    version TEXT NOT NULL,    -- the way of grouping
    found   TEXT NOT NULL,    -- how the issue was found when the hash was new: new, secondary, older version
    seen_at INTEGER NOT NULL  -- when it was last stored
) STRICT, WITHOUT ROWID;
CREATE INDEX issue_hashes_by_issue ON issue_hashes (issue);
INSERT INTO issue_hashes SELECT fingerprint, id, 'primary', 'watchfire-g1', 'new', last_seen FROM issues;

-- How often events of an issue had a value of a tag; releases, environments and servers are tags, too.
CREATE TABLE issue_tags (
    issue      TEXT NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    key        TEXT NOT NULL,
    value      TEXT NOT NULL,
    count      INTEGER NOT NULL,
    first_seen INTEGER NOT NULL,
    last_seen  INTEGER NOT NULL,
    PRIMARY KEY (issue, key, value)
) STRICT, WITHOUT ROWID;
CREATE INDEX issue_tags_by_value ON issue_tags (key, value);

-- When a release of a service was seen first.
CREATE TABLE issue_releases (
    service    TEXT NOT NULL,
    release    TEXT NOT NULL,
    first_seen INTEGER NOT NULL,
    PRIMARY KEY (service, release)
) STRICT, WITHOUT ROWID;

CREATE TABLE issue_comments (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    issue  TEXT NOT NULL REFERENCES issues (id) ON DELETE CASCADE,
    at     INTEGER NOT NULL,
    author TEXT NOT NULL,
    text   TEXT NOT NULL
) STRICT;
CREATE INDEX issue_comments_by_issue ON issue_comments (issue, id);
