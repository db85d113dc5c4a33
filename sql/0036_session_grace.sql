-- A refresh whose answer was lost is made again, and two tabs refresh at once: within some seconds the same
-- token may be used again, as long as nothing that came of it was used. And a session ends some day, however
-- often it is refreshed (common/sessions.c). Sessions that are open now are taken to begin with this migration.
ALTER TABLE refresh_tokens
    ADD COLUMN parent bytea, -- jti_hash of the token in whose place it came; NULL: of a login
    ADD COLUMN began_at timestamptz NOT NULL DEFAULT now(); -- when the user logged in
