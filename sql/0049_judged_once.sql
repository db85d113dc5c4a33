-- PostgreSQL reads the CHECKs of a table and the conditions of its triggers from their text in each statement that
-- writes to it: of what a payment on its way from the order to the mail cost, a fifth. So what is written once is
-- looked at when it is written, as with jobs (0003), not with each change of state; and orders and payments, for whose
-- updates a function is called in any case (updated_at), are judged there and not in conditions before it.

-- ---- payments ----

CREATE FUNCTION judge_payment_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.amount <> NEW.amount OR OLD.currency <> NEW.currency OR OLD.order_id <> NEW.order_id
        OR OLD.idempotency_key <> NEW.idempotency_key OR OLD.refund_key <> NEW.refund_key THEN
        RAISE EXCEPTION 'amount, currency and keys of a payment do not change'
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_frozen';
    END IF;
    IF OLD.status <> NEW.status AND NOT (CASE OLD.status
        WHEN 'pending' THEN NEW.status IN ('processing', 'failed')
        WHEN 'processing' THEN NEW.status IN ('succeeded', 'failed', 'unknown')
        WHEN 'unknown' THEN NEW.status IN ('succeeded', 'failed')
        WHEN 'succeeded' THEN NEW.status = 'refunded'
        ELSE false END) THEN
        RAISE EXCEPTION 'illegal change of payments.status from % to %', OLD.status, NEW.status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'payments_transition';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
DROP TRIGGER payments_frozen ON payments;
DROP TRIGGER payments_transition ON payments;
DROP TRIGGER payments_updated_at ON payments;
CREATE TRIGGER payments_transition BEFORE UPDATE ON payments
    FOR EACH ROW EXECUTE FUNCTION judge_payment_change();
DROP FUNCTION freeze_payment();

CREATE FUNCTION judge_payment_input() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount < 0 OR NEW.currency !~ '^[a-z]{3}$' OR NEW.payment_token !~ '^pm_[A-Za-z0-9_]{1,200}$'
        OR NEW.payment_method NOT IN ('card', 'paypal', 'bank_account') THEN
        RAISE EXCEPTION 'a payment is by card, paypal or bank_account, with a token "pm_...", of 0 or more in a currency of three small letters'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER payments_input_check AFTER INSERT OR UPDATE OF payment_method, payment_token, amount, currency ON payments
    FOR EACH ROW EXECUTE FUNCTION judge_payment_input();
ALTER TABLE payments
    DROP CONSTRAINT payments_payment_method_check,
    DROP CONSTRAINT payments_payment_token_check,
    DROP CONSTRAINT payments_amount_check,
    DROP CONSTRAINT payments_currency_check;

-- ---- orders ----

CREATE FUNCTION judge_order_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.order_status <> NEW.order_status AND NOT (CASE OLD.order_status
        WHEN 'pending' THEN NEW.order_status IN ('paid', 'payment_failed', 'cancelled', 'expired')
        WHEN 'payment_failed' THEN NEW.order_status IN ('pending', 'paid', 'cancelled', 'expired')
        WHEN 'paid' THEN NEW.order_status = 'refunded'
        ELSE false END) THEN
        RAISE EXCEPTION 'illegal change of orders.order_status from % to %', OLD.order_status, NEW.order_status
            USING ERRCODE = 'check_violation', CONSTRAINT = 'orders_transition';
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END $$;
DROP TRIGGER orders_transition ON orders;
DROP TRIGGER orders_updated_at ON orders;
CREATE TRIGGER orders_transition BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION judge_order_change();

CREATE FUNCTION judge_order_input() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.total_amount < 0 OR NEW.currency !~ '^[a-z]{3}$' THEN
        RAISE EXCEPTION 'an order comes to 0 or more in a currency of three small letters'
            USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER orders_input_check AFTER INSERT OR UPDATE OF total_amount, currency ON orders
    FOR EACH ROW EXECUTE FUNCTION judge_order_input();
ALTER TABLE orders
    DROP CONSTRAINT orders_total_amount_check,
    DROP CONSTRAINT orders_currency_check;

-- ---- jobs ----

-- What a claim and an end do not write. LEAST passes over NULLs.
CREATE FUNCTION refuse_job_numbers() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'priority is 0 (high) to 2 (low); max_attempts and snoozes are 1 or more'
        USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
END $$;
CREATE TRIGGER jobs_numbers_check AFTER INSERT OR UPDATE OF priority, max_attempts, snoozes ON jobs
    FOR EACH ROW WHEN (NEW.priority NOT BETWEEN 0 AND 2 OR LEAST(NEW.max_attempts, NEW.snoozes) < 1)
    EXECUTE FUNCTION refuse_job_numbers();

-- jobs_waiting_check asked for a time that is NOT NULL in any case. States are in the order of their type: what has
-- ended stands behind what has not. The rows that are there have met the same in other words, so nobody reads them
-- all again for it (NOT VALID).
ALTER TABLE jobs
    DROP CONSTRAINT jobs_priority_check,
    DROP CONSTRAINT jobs_max_attempts_check,
    DROP CONSTRAINT jobs_snoozes_check,
    DROP CONSTRAINT jobs_waiting_check,
    DROP CONSTRAINT jobs_finished_check,
    ADD CONSTRAINT jobs_finished_check CHECK ((state >= 'SUCCESS') = (finished_at IS NOT NULL)) NOT VALID;

-- As in 0008; most jobs that come here have nothing but a trace, which is seen to be one without all that is asked
-- about the others.
CREATE OR REPLACE FUNCTION check_job_options() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    problem text;
BEGIN
    IF NEW.unique_key IS NULL AND NEW.headers IS NULL AND NEW.retention_s IS NULL AND NEW.expires_at IS NULL
        AND NEW.traceparent LIKE '00-________________________________-________________-__'
        AND translate(NEW.traceparent, '0123456789abcdef', '') = '---'
        AND NEW.traceparent NOT LIKE '00-00000000000000000000000000000000-%'
        AND NEW.traceparent NOT LIKE '%-0000000000000000-%' THEN
        RETURN NEW;
    END IF;
    problem := job_options_problem(NEW.unique_key, NEW.headers, NEW.traceparent,
        NEW.retention_s, NEW.expires_at, NULL);
    IF problem IS NOT NULL THEN
        RAISE EXCEPTION '%', problem USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME;
    END IF;
    RETURN NEW;
END $$;
