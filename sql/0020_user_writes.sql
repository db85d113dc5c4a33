-- How often each user has written, counted in the transaction of each write by a till-api that has a
-- replica to read from. The primary tells the count to every request, the replica tells how much of it
-- has arrived: one's own writes are there when the counts agree, whichever process made them, and no
-- clock, no cache and no position in a log that ends with a failover has a part in it.
--
-- A table of its own, since a change of users would say that the user was changed.
CREATE TABLE user_writes (
    user_id bigint PRIMARY KEY REFERENCES users ON DELETE CASCADE,
    writes bigint NOT NULL CHECK (writes > 0)
) WITH (fillfactor = 50);
