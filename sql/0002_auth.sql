-- Sessions of the API and the answers it has promised to repeat.

-- A refresh token is known by the hash of its jti. Each use makes the next of the same family;
-- a token used twice tells of a thief, and the whole family dies.
CREATE TABLE refresh_tokens (
    jti_hash bytea PRIMARY KEY CHECK (length(jti_hash) = 32), -- SHA-256
    family uuid NOT NULL,
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    expires_at timestamptz NOT NULL,
    used_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX refresh_tokens_family ON refresh_tokens (family);
CREATE INDEX refresh_tokens_user_id ON refresh_tokens (user_id);
CREATE INDEX refresh_tokens_expires_at ON refresh_tokens (expires_at);

-- Answers to POSTs with an Idempotency-Key, per user, kept for 72 hours. A row is written once,
-- complete, in the transaction of what it answers.
CREATE TABLE idempotency_keys (
    user_id bigint NOT NULL REFERENCES users ON DELETE CASCADE,
    key text NOT NULL CHECK (length(key) BETWEEN 1 AND 255),
    fingerprint bytea NOT NULL CHECK (length(fingerprint) = 32), -- SHA-256 of method, path, body
    status integer NOT NULL CHECK (status BETWEEN 200 AND 499),
    location text,
    body text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, key)
);
CREATE INDEX idempotency_keys_created_at ON idempotency_keys (created_at);
