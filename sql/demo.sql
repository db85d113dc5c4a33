-- Demo data: 12 categories, 1,200 products, 120 users and one member of staff. Loading it again
-- changes nothing. Every demo user's password is "till-demo-2026"; never load it into a real shop.

INSERT INTO users (username, email, first_name, last_name, password_hash, is_staff)
SELECT 'demo' || n, 'demo' || n || '@example.com',
       (ARRAY['Ada','Alan','Barbara','Claude','Dennis','Edsger','Frances','Grace','Hedy','Ivan','Joan','Ken'])[n % 12 + 1],
       (ARRAY['Lovelace','Turing','Liskov','Shannon','Ritchie','Dijkstra','Allen','Hopper','Lamarr','Sutherland','Clarke','Thompson'])[n / 12 % 12 + 1],
       '$argon2id$v=19$m=19456,t=2,p=1$Sl9Vku8MVhWVI0MGmtfZOg$RZ8XpsTYvSy4ofOtXpPsClRCtG4EaS80AL8IUZSMSZA', false
FROM generate_series(1, 120) n
ON CONFLICT DO NOTHING;

INSERT INTO users (username, email, first_name, last_name, password_hash, is_staff)
VALUES ('staff', 'staff@example.com', 'Margaret', 'Hamilton',
        '$argon2id$v=19$m=19456,t=2,p=1$Sl9Vku8MVhWVI0MGmtfZOg$RZ8XpsTYvSy4ofOtXpPsClRCtG4EaS80AL8IUZSMSZA', true)
ON CONFLICT DO NOTHING;

INSERT INTO categories (name)
SELECT name FROM unnest(ARRAY['Lamps','Chairs','Tables','Desks','Rugs','Clocks','Mirrors','Cups',
    'Plates','Blankets','Baskets','Vases']) name
WHERE NOT EXISTS (SELECT FROM categories);

-- Prices from 4.90 to about 900.00, in cents that look like a shop's; stock from 0 to 499.
INSERT INTO products (name, description, price, stock_quantity, category_id)
SELECT initcap(material) || ' ' || rtrim(lower(c.name), 's') || ' no. ' || (row_number() OVER (PARTITION BY c.id ORDER BY n)),
       'A ' || rtrim(lower(c.name), 's') || ' of ' || material || ', made to last.',
       ((n * 7919 % 89500 + 490) / 10 * 10 + 9)::numeric / 100,
       n * 104729 % 500, c.id
FROM generate_series(1, 1200) n
JOIN (SELECT id, name, row_number() OVER (ORDER BY id) AS place, count(*) OVER () AS total FROM categories) c
    ON c.place = n % c.total + 1,
LATERAL (SELECT (ARRAY['oak','walnut','brass','linen','wool','glass','clay','steel','cork','marble'])[n / 12 % 10 + 1] AS material) m
WHERE NOT EXISTS (SELECT FROM products);
