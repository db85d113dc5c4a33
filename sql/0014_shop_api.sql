-- What the whole REST API of the shop needs: ratings with halves, a product's rating, categories
-- that form a tree, and the events that the gateway has told us.

-- "4.50": clients send and read a decimal.
ALTER TABLE reviews ALTER COLUMN rating TYPE numeric(3,2);

-- A product without reviews has no row.
CREATE VIEW product_ratings AS
    SELECT product_id, round(avg(rating), 2)::numeric(3,2) AS rating, count(*) AS reviews
    FROM reviews GROUP BY product_id;

-- A category must not be its own ancestor: whoever climbs the tree would never arrive.
CREATE FUNCTION refuse_category_cycle() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- One writer at a time: two moves that are harmless alone may close a circle together.
    PERFORM pg_advisory_xact_lock(hashtextextended('categories_no_cycle', 0));
    IF EXISTS (
        WITH RECURSIVE above AS (
            SELECT id, parent_id FROM categories WHERE id = NEW.parent_id
            UNION SELECT c.id, c.parent_id FROM categories c JOIN above ON c.id = above.parent_id
        ) SELECT FROM above WHERE id = NEW.id)
    THEN
        RAISE EXCEPTION 'category % would be below itself', NEW.id
            USING ERRCODE = 'check_violation', CONSTRAINT = 'categories_no_cycle';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER categories_no_cycle BEFORE UPDATE OF parent_id ON categories FOR EACH ROW
    WHEN (NEW.parent_id IS NOT NULL AND NEW.parent_id IS DISTINCT FROM OLD.parent_id)
    EXECUTE FUNCTION refuse_category_cycle();

-- Goods go back on the shelf when an order is cancelled, expires or is refunded, in the order in
-- which orders take them, so that nobody waits in a circle.
CREATE FUNCTION give_stock_back(wanted bigint) RETURNS void LANGUAGE sql AS $$
    WITH given AS (
        SELECT product_id, sum(quantity) AS quantity FROM order_items
        WHERE order_id = wanted GROUP BY product_id
    ), locked AS (
        SELECT p.id, given.quantity FROM products p JOIN given ON given.product_id = p.id
        ORDER BY p.id FOR NO KEY UPDATE OF p
    )
    UPDATE products p SET stock_quantity = p.stock_quantity + locked.quantity
    FROM locked WHERE p.id = locked.id;
$$;

-- What the gateway has told us, each event once: it sends some of them again, and in any order.
CREATE TABLE gateway_events (
    id text PRIMARY KEY CHECK (length(id) BETWEEN 1 AND 255),
    type text NOT NULL CHECK (length(type) <= 100),
    payment_id uuid REFERENCES payments, -- NULL: about none of ours
    outcome text NOT NULL CHECK (outcome IN ('applied', 'ignored', 'refused')),
    created_at timestamptz NOT NULL, -- the gateway's time
    received_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX gateway_events_payment_id ON gateway_events (payment_id);
CREATE INDEX gateway_events_received_at ON gateway_events (received_at);
