-- Which queues a worker consumes beyond, or in spite of, its TILL_QUEUES. Kept like every other order: it
-- outlives the worker and its supervisor, and the nearest row that names a queue decides about it.

CREATE FUNCTION count_members(object jsonb) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT count(*) FROM jsonb_object_keys(object)
$$;

-- Queue -> true: consume it; false: do not. At most as many as TILL_QUEUES may name.
ALTER TABLE worker_orders ADD COLUMN queues jsonb NOT NULL DEFAULT '{}'
    CONSTRAINT worker_orders_queues_check CHECK (jsonb_typeof(queues) = 'object' AND count_members(queues) <= 64);
