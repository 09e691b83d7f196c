-- This file is applied to databases in use: never change it, add the next one.

-- Jobs that are watched through this replica, so that the one that drives them knows.
ALTER TABLE replicas ADD COLUMN watched uuid[] NOT NULL DEFAULT '{}';
