CREATE SCHEMA app;

CREATE TABLE app.schema_migrations (
    version    text PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

CREATE TYPE app.plan AS ENUM ('free', 'team', 'business');

CREATE TABLE app.accounts (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    name       varchar(200) NOT NULL,
    plan       app.plan NOT NULL DEFAULT 'free',
    created_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE app.projects (
    id         uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_id uuid NOT NULL REFERENCES app.accounts ON DELETE CASCADE,
    slug       text NOT NULL,
    UNIQUE (account_id, slug)
);

CREATE INDEX projects_by_account ON app.projects (account_id);
