-- Flows whose cancel was begun and is not finished: the scheduler looks for them, and there are hardly ever any.
CREATE INDEX flows_cancels_begun ON flows (cancelled_at) WHERE finished_at IS NULL AND cancelled_at IS NOT NULL;
