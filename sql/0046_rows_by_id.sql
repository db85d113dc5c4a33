-- A row that is named by its id was looked for in a partial index. Where an UPDATE by id also asks for a state, as
-- all that are fenced do, the planner may read a partial index of that state from end to end: that looks cheapest
-- while the last ANALYZE saw nothing in it. A backlog that comes later (the gateway is down, a burst of jobs) was
-- then read whole for each of its rows: a thousand payments that waited doubled what each of them cost, and ten
-- thousand would have cost ten times that again.
--
-- So these indexes have conditions that nothing implies but the same words, with IS TRUE, in the few lists that
-- mean them. Everybody else has an index that begins with what they know.

DROP INDEX payments_unsettled;
CREATE INDEX payments_unsettled ON payments (created_at)
    WHERE (status IN ('pending', 'processing', 'unknown')) IS TRUE;

DROP INDEX orders_unpaid;
CREATE INDEX orders_unpaid ON orders (created_at) WHERE (order_status IN ('pending', 'payment_failed')) IS TRUE;

DROP INDEX jobs_unfinished;
CREATE INDEX jobs_unfinished ON jobs (id) WHERE (finished_at IS NULL) IS TRUE;
