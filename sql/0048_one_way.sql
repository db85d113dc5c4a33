-- A job that ends in the transaction of its effect sends its end and the commit together, so the end of an attempt
-- that is another's by now has to fail: touching nothing, it would be committed.
CREATE FUNCTION till_not_ours(job uuid, attempt integer) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'attempt % of job % was taken over or cancelled', attempt, job USING ERRCODE = 'TL001';
END $$;
