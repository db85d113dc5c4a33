-- A member of a flow that is run again as a new job is in no flow, and what it asked for of the steps before it was
-- null. It gets what the original gets.
ALTER TABLE jobs ADD COLUMN input_of uuid; -- the member of a flow whose input this job has; NULL: it has its own
