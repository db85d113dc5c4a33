-- From 0014, without 7 of its lines: what they locked and wrote in one statement two do. Where somebody else had changed
-- a product while the lock was waited for, the write sees what that one left only by a snapshot of its own. By that of the
-- lock it would begin at the row before the change, behind those who wait there for us: a deadlock with whoever orders it.
CREATE OR REPLACE FUNCTION give_stock_back(wanted bigint) RETURNS void LANGUAGE sql AS $$
    SELECT p.id FROM products p
    WHERE p.id IN (SELECT product_id FROM order_items WHERE order_id = wanted)
    ORDER BY p.id FOR NO KEY UPDATE;

    UPDATE products p SET stock_quantity = p.stock_quantity + given.quantity
    FROM (
        SELECT product_id, sum(quantity) AS quantity FROM order_items
        WHERE order_id = wanted GROUP BY product_id
    ) given
    WHERE p.id = given.product_id;
$$;
