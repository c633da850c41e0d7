CREATE TABLE revision (
	id BIGINT PRIMARY KEY,
	rev BIGINT NOT NULL
);
INSERT INTO revision (id, rev) VALUES (1, 0);

CREATE TABLE objects (
	kind TEXT NOT NULL,
	name TEXT NOT NULL,
	definition TEXT NOT NULL,
	digest TEXT NOT NULL,
	rev BIGINT NOT NULL,
	updated_at BIGINT NOT NULL,
	updated_by TEXT NOT NULL,
	PRIMARY KEY (kind, name)
);

CREATE TABLE blobs (
	name TEXT PRIMARY KEY,
	content TEXT NOT NULL
);

CREATE TABLE bundles (
	digest TEXT PRIMARY KEY,
	blob TEXT NOT NULL,
	size BIGINT NOT NULL,
	key_id TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL
);
CREATE INDEX bundles_blob ON bundles (blob);

CREATE TABLE releases (
	gateway TEXT NOT NULL,
	revision BIGINT NOT NULL,
	bundle TEXT NOT NULL,
	predecessor TEXT NOT NULL,
	signed_at BIGINT NOT NULL,
	note TEXT NOT NULL,
	key_id TEXT NOT NULL,
	released_by TEXT NOT NULL,
	released_at BIGINT NOT NULL,
	signed TEXT NOT NULL,
	PRIMARY KEY (gateway, revision)
);
CREATE INDEX releases_bundle ON releases (bundle);

CREATE TABLE instances (
	gateway TEXT NOT NULL,
	instance TEXT NOT NULL,
	version TEXT NOT NULL,
	bundle TEXT NOT NULL,
	revision BIGINT NOT NULL,
	error TEXT NOT NULL,
	sessions BIGINT NOT NULL,
	started_at BIGINT NOT NULL,
	seen_at BIGINT NOT NULL,
	PRIMARY KEY (gateway, instance)
);

CREATE TABLE approvals (
	id TEXT PRIMARY KEY,
	gateway TEXT NOT NULL,
	nonce TEXT NOT NULL,
	mode TEXT NOT NULL,
	binding TEXT NOT NULL,
	status TEXT NOT NULL,
	held TEXT NOT NULL,
	requested_at BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	decided_at BIGINT NOT NULL,
	used_by TEXT NOT NULL,
	UNIQUE (gateway, nonce)
);
CREATE INDEX approvals_requested ON approvals (requested_at);
CREATE INDEX approvals_binding ON approvals (gateway, binding);

CREATE TABLE votes (
	approval TEXT NOT NULL,
	approver TEXT NOT NULL,
	subject TEXT NOT NULL,
	verdict TEXT NOT NULL,
	reason TEXT NOT NULL,
	voted_at BIGINT NOT NULL,
	PRIMARY KEY (approval, approver),
	UNIQUE (approval, subject)
);

CREATE TABLE tokens (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL,
	hash TEXT NOT NULL UNIQUE,
	roles TEXT NOT NULL,
	subject TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	created_by TEXT NOT NULL,
	expires_at BIGINT NOT NULL,
	last_used_at BIGINT NOT NULL,
	revoked_at BIGINT NOT NULL
);

CREATE TABLE console_sessions (
	id TEXT PRIMARY KEY,
	sealed TEXT NOT NULL,
	expires_at BIGINT NOT NULL
);
