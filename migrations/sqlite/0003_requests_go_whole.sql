-- The jobs of one request are forgotten together: what of a request still lives, or ended too lately, is looked up here.
-- This file is applied to databases in use: never change it, add the next one.

CREATE INDEX jobs_live_by_request ON jobs (request_id) WHERE ended = 0 AND request_id IS NOT NULL;
CREATE INDEX jobs_end_by_request ON jobs (request_id, end_time, id) WHERE ended = 1 AND request_id IS NOT NULL;
