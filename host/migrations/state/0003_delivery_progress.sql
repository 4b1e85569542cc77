-- How far the delivery of a notification by a component has come, and what the last delivery for a group returned.
ALTER TABLE outbox ADD COLUMN progress BLOB;    -- the component's state after the last batch of requests that was answered and read
ALTER TABLE outbox ADD COLUMN progress_by TEXT; -- which plugin it belongs to, and the version of its state

CREATE TABLE group_receipts (
    group_key TEXT PRIMARY KEY,
    receipt   TEXT NOT NULL -- as the component wants it back with the next notification of the group
) STRICT, WITHOUT ROWID;
