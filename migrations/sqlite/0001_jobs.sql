-- Jobs, their events, and the requests that made them.
-- Times are microseconds since 1970 UTC; ids are the 16 bytes of a UUID; spec, status, control are JSON.
-- This file is applied to databases in use: never change it, add the next one.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Events at or below this position may have been purged.
INSERT INTO meta (key, value) VALUES ('purged_through', '0');

CREATE TABLE requests (
    id          BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    digest      BLOB NOT NULL CHECK (length(digest) = 32),
    create_time INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE jobs (
    id            BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 16),
    provider      TEXT NOT NULL,
    target        TEXT NOT NULL,
    operation     TEXT NOT NULL,
    state         TEXT NOT NULL,
    ended         INTEGER NOT NULL CHECK (ended IN (0, 1)),
    holds         INTEGER NOT NULL CHECK (holds IN (0, 1)),
    create_time   INTEGER NOT NULL,
    version       INTEGER NOT NULL CHECK (version > 0),
    sequence      INTEGER NOT NULL CHECK (sequence > 0),
    request_id    BLOB REFERENCES requests (id),
    request_index INTEGER,
    spec          TEXT NOT NULL,
    status        TEXT NOT NULL,
    control       TEXT NOT NULL,
    CHECK (NOT (ended = 1 AND holds = 1)),
    CHECK ((request_id IS NULL) = (request_index IS NULL))
) STRICT;

-- The promise "one job holds a target", kept by the database itself.
CREATE UNIQUE INDEX jobs_holder ON jobs (target) WHERE holds = 1;
CREATE UNIQUE INDEX jobs_by_request ON jobs (request_id, request_index) WHERE request_id IS NOT NULL;

-- Live jobs: few beside the ended ones, and asked for all the time.
CREATE INDEX jobs_live_by_target ON jobs (target, id, holds) WHERE ended = 0;
CREATE INDEX jobs_live_by_provider ON jobs (provider, id) WHERE ended = 0;
CREATE INDEX jobs_live_by_state ON jobs (provider, state) WHERE ended = 0;

-- Lists are ordered by (create_time, id); each index serves one kind of filter in that order.
CREATE INDEX jobs_by_time ON jobs (create_time, id);
CREATE INDEX jobs_by_provider ON jobs (provider, create_time, id);
CREATE INDEX jobs_by_target ON jobs (target, create_time, id);
CREATE INDEX jobs_by_state ON jobs (state, create_time, id);
CREATE INDEX jobs_by_operation ON jobs (operation, create_time, id);

CREATE TABLE job_labels (
    key         TEXT NOT NULL,
    value       TEXT NOT NULL,
    create_time INTEGER NOT NULL,
    job         BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, create_time, job)
) STRICT, WITHOUT ROWID;

CREATE INDEX job_labels_by_job ON job_labels (job);

CREATE TABLE sealed_passwords (
    job    BLOB PRIMARY KEY NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT: a position is never used again, also after the newest events were purged.
CREATE TABLE events (
    position  INTEGER PRIMARY KEY AUTOINCREMENT,
    commit_no INTEGER NOT NULL CHECK (commit_no > 0 AND commit_no <= position),
    job       BLOB NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence  INTEGER NOT NULL CHECK (sequence > 0),
    time      INTEGER NOT NULL,
    kind      TEXT NOT NULL,
    message   TEXT NOT NULL,
    status    TEXT NOT NULL
) STRICT;

CREATE UNIQUE INDEX events_by_job ON events (job, sequence);
