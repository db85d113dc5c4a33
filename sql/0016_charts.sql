-- What each worker had counted when the leading scheduler last looked, so that job_minutes gets what was
-- added since, whoever leads.
CREATE TABLE worker_counts (
    name text PRIMARY KEY,
    started_at timestamptz NOT NULL, -- of the process; another one begins at nought
    succeeded bigint NOT NULL,
    failed bigint NOT NULL,
    retried bigint NOT NULL,
    seen_at timestamptz NOT NULL DEFAULT now()
);
