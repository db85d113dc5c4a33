-- Jobs that the index of words has missed, whose ids came from a clock that was late, have a negative turn.
-- Searches look at all of them, and not at all that waits beside them.
CREATE INDEX job_search_missed ON job_search_open (job_id) WHERE turn < 0;
