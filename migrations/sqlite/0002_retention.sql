-- Ended jobs by the moment they ended, so that the oldest can go first.
-- This file is applied to databases in use: never change it, add the next one.

ALTER TABLE jobs ADD COLUMN end_time INTEGER;

-- Seconds are exact enough for what is already there.
UPDATE jobs SET end_time = coalesce(unixepoch(json_extract(status, '$.end_time')) * 1000000, create_time)
WHERE ended = 1;

CREATE INDEX jobs_by_end ON jobs (end_time, id) WHERE ended = 1;

-- Keys whose entries made no job go by their own age.
CREATE INDEX requests_by_time ON requests (create_time);
