-- Jobs, their events, the requests that made them, and who drives what. PostgreSQL 14 and later.
-- Times of jobs are microseconds since 1970 UTC, so that no session's time zone matters; spec, status, control are
-- JSON as text, because jsonb would not give numbers back as they were written. Times of leases are the database's
-- own clock.
-- This file is applied to databases in use: never change it, add the next one.

CREATE TABLE meta (
    key   text PRIMARY KEY,
    value text NOT NULL
);

-- One row. Whoever writes events locks it first, so positions rise in the order of commits. Locking it leaves no
-- dead row behind; only a purge changes it.
CREATE TABLE counters (
    one            boolean PRIMARY KEY DEFAULT true CHECK (one),
    -- No position at or below this one is given again, also when its event is gone.
    position       bigint NOT NULL DEFAULT 0 CHECK (position >= 0),
    -- Events at or below this position may have been purged.
    purged_through bigint NOT NULL DEFAULT 0 CHECK (purged_through >= 0)
);

INSERT INTO counters DEFAULT VALUES;

CREATE TABLE requests (
    id          uuid PRIMARY KEY,
    digest      bytea NOT NULL CHECK (length(digest) = 32),
    create_time bigint NOT NULL
);

-- Keys whose entries made no job go by their own age.
CREATE INDEX requests_by_time ON requests (create_time);

CREATE TABLE jobs (
    id            uuid PRIMARY KEY,
    provider      text COLLATE "C" NOT NULL,
    target        text COLLATE "C" NOT NULL,
    operation     text COLLATE "C" NOT NULL,
    state         text COLLATE "C" NOT NULL,
    ended         boolean NOT NULL,
    holds         boolean NOT NULL,
    create_time   bigint NOT NULL,
    end_time      bigint,
    version       bigint NOT NULL CHECK (version > 0),
    sequence      bigint NOT NULL CHECK (sequence > 0),
    request_id    uuid REFERENCES requests (id),
    request_index bigint,
    spec          text NOT NULL,
    status        text NOT NULL,
    control       text NOT NULL,
    CHECK (NOT (ended AND holds)),
    CHECK (ended = (end_time IS NOT NULL)),
    CHECK ((request_id IS NULL) = (request_index IS NULL))
);

-- The promise "one job holds a target", kept by the database itself.
CREATE UNIQUE INDEX jobs_holder ON jobs (target) WHERE holds;
CREATE UNIQUE INDEX jobs_by_request ON jobs (request_id, request_index) WHERE request_id IS NOT NULL;

-- Live jobs: few beside the ended ones, and asked for all the time.
CREATE INDEX jobs_live_by_target ON jobs (target, id) INCLUDE (holds) WHERE NOT ended;
CREATE INDEX jobs_live_by_provider ON jobs (provider, id) WHERE NOT ended;
CREATE INDEX jobs_live_by_state ON jobs (provider, state) WHERE NOT ended;
-- Ended jobs by the moment they ended, so that the oldest can go first.
CREATE INDEX jobs_by_end ON jobs (end_time, id) WHERE ended;

-- Lists are ordered by (create_time, id); each index serves one kind of filter in that order.
CREATE INDEX jobs_by_time ON jobs (create_time, id);
CREATE INDEX jobs_by_provider ON jobs (provider, create_time, id);
CREATE INDEX jobs_by_target ON jobs (target, create_time, id);
CREATE INDEX jobs_by_state ON jobs (state, create_time, id);
CREATE INDEX jobs_by_operation ON jobs (operation, create_time, id);

CREATE TABLE job_labels (
    key         text COLLATE "C" NOT NULL,
    value       text COLLATE "C" NOT NULL,
    create_time bigint NOT NULL,
    job         uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, create_time, job)
);

CREATE INDEX job_labels_by_job ON job_labels (job);

CREATE TABLE sealed_passwords (
    job    uuid PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    sealed bytea NOT NULL
);

CREATE TABLE events (
    position  bigint PRIMARY KEY,
    commit_no bigint NOT NULL CHECK (commit_no > 0 AND commit_no <= position),
    job       uuid NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    sequence  bigint NOT NULL CHECK (sequence > 0),
    time      bigint NOT NULL,
    kind      text NOT NULL,
    message   text NOT NULL,
    status    text NOT NULL
);

CREATE UNIQUE INDEX events_by_job ON events (job, sequence);

-- Replicas that said they are there. A presence runs out by itself.
CREATE TABLE replicas (
    id         uuid PRIMARY KEY,
    name       text NOT NULL,
    providers  text[] NOT NULL,
    expires_at timestamptz NOT NULL
);

-- The right to drive a provider. Rows are never deleted: a fence never falls.
CREATE TABLE leases (
    provider   text COLLATE "C" PRIMARY KEY,
    fence      bigint NOT NULL CHECK (fence >= 0),
    holder     uuid,
    expires_at timestamptz NOT NULL,
    report     text
);
