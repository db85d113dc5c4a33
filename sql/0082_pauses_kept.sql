-- The pause of a schedule that is taken out of the file outlives that: the row stays, and is not shown to run. When the
-- schedule comes back it is paused as before. Programs from before take it for one that is paused.
ALTER TABLE schedules ADD COLUMN removed_at timestamptz; -- no file has it any more; NULL: one has
