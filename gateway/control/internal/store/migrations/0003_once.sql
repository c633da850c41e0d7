CREATE TABLE once (
    id TEXT PRIMARY KEY,
    content TEXT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX once_expires ON once (expires_at);
