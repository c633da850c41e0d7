-- What ReadSchema understands, one of each, in forms that people and pg_dump
-- write.
SET statement_timeout = 0;
SELECT pg_catalog.set_config('search_path', '', false);

CREATE SCHEMA a;
CREATE SCHEMA IF NOT EXISTS "Odd Schema";

CREATE TYPE a.mood AS ENUM ('sad', 'ok');
CREATE TYPE a.point3 AS (x double precision, y double precision, z double precision);
CREATE DOMAIN a.email AS text CONSTRAINT has_at CHECK (VALUE ~ '@') NOT NULL;

CREATE SEQUENCE a.numbers START 100;

CREATE TABLE a.plain (
    id bigint NOT NULL,
    small smallint DEFAULT 1,
    flag boolean DEFAULT false NOT NULL,
    code character(3),
    name character varying(40) DEFAULT 'a, b) ''c'' -- d'::character varying,
    amount numeric(10,2) DEFAULT (0)::numeric CHECK (amount >= (0)::numeric),
    tags text[] DEFAULT '{}'::text[],
    grid integer[][],
    mood a.mood DEFAULT 'ok'::a.mood,
    place a.point3,
    mail a.email,
    doc jsonb,
    at timestamp with time zone DEFAULT now(),
    span interval,
    net inet,
    raw bytea,
    "Quoted ""name""" text,
    total numeric GENERATED ALWAYS AS (amount * (2)::numeric) STORED,
    number bigint DEFAULT nextval('a.numbers'::regclass)
);

ALTER TABLE a.plain OWNER TO CURRENT_USER;
ALTER TABLE ONLY a.plain ADD CONSTRAINT plain_pkey PRIMARY KEY (id);
ALTER TABLE ONLY a.plain ADD CONSTRAINT plain_code_name_key UNIQUE (code, name);
ALTER TABLE a.plain ALTER COLUMN small SET DEFAULT (2 + 3);
COMMENT ON TABLE a.plain IS 'a; comment';

CREATE TABLE a.identity (
    id integer GENERATED ALWAYS AS IDENTITY (START WITH 5) PRIMARY KEY,
    parent integer REFERENCES a.identity ON DELETE SET NULL ON UPDATE CASCADE,
    plain bigint REFERENCES a.plain (id) DEFERRABLE INITIALLY DEFERRED,
    UNIQUE (parent, plain)
);

CREATE TABLE a.serials (a serial, b bigserial PRIMARY KEY, c smallserial);

CREATE TABLE a.child (extra text) INHERITS (a.plain);

CREATE TABLE a.copy (LIKE a.identity, note text);
CREATE TABLE a.copy_all (first text, LIKE a.plain INCLUDING ALL);

CREATE TABLE a.days (day date PRIMARY KEY);
CREATE TABLE a.measured (at date NOT NULL, value real) PARTITION BY RANGE (at);
CREATE TABLE a.measured_2025 PARTITION OF a.measured FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
CREATE TABLE a.measured_rest (at date NOT NULL, value real);
ALTER TABLE ONLY a.measured ATTACH PARTITION a.measured_rest DEFAULT;
CREATE TABLE a.keyed (id bigint, at date REFERENCES a.days, CHECK (id > 0), PRIMARY KEY (id, at)) PARTITION BY LIST (id);
CREATE TABLE a.keyed_1 PARTITION OF a.keyed FOR VALUES IN (1);
CREATE TABLE a.keyed_2 (at date NOT NULL, id bigint NOT NULL CONSTRAINT keyed_id_check CHECK (id > 0));
ALTER TABLE a.keyed ATTACH PARTITION a.keyed_2 FOR VALUES IN (2);

CREATE INDEX plain_lower ON a.plain USING btree (lower((name)::text), id) WHERE (flag AND (id > 0));
CREATE UNIQUE INDEX plain_mail ON a.plain (mail);

CREATE FUNCTION a.add(x integer, y integer DEFAULT 1) RETURNS integer
    LANGUAGE sql IMMUTABLE AS $$ SELECT x + y $$;
CREATE FUNCTION a.body(x integer) RETURNS integer LANGUAGE sql STABLE RETURN x + 1;
CREATE FUNCTION a.atomic(x integer) RETURNS integer LANGUAGE sql BEGIN ATOMIC SELECT count(*)::integer FROM a.plain; END;
CREATE FUNCTION a.list(OUT id bigint, OUT name text) RETURNS SETOF record
    LANGUAGE sql SECURITY DEFINER SET search_path = a, pg_temp AS 'SELECT id, name FROM plain';
CREATE FUNCTION a.rows() RETURNS TABLE (id bigint, name text) LANGUAGE plpgsql AS $f$ BEGIN RETURN; END $f$;
CREATE PROCEDURE a.act(INOUT n integer, VARIADIC rest text[]) LANGUAGE plpgsql AS $$ BEGIN n := 1; END $$;
CREATE FUNCTION a.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE OF name ON a.plain FOR EACH ROW WHEN (NEW.flag) EXECUTE FUNCTION a.touch();
CREATE TRIGGER swept AFTER TRUNCATE ON a.plain FOR EACH STATEMENT EXECUTE PROCEDURE a.touch();

SET search_path = a, public;

CREATE VIEW names AS SELECT p.id, p.name, upper(p.name) AS shouted, add(1), count(*) OVER (), 1 FROM plain p;
CREATE OR REPLACE VIEW renamed (one, two) AS SELECT id, name, flag FROM plain WHERE flag WITH CASCADED CHECK OPTION;
CREATE VIEW nested AS
    WITH plain AS (SELECT id FROM names), other AS (SELECT * FROM plain)
    SELECT o.*, (SELECT max(i.id) FROM a.identity i) FROM other o WHERE o.id IN (SELECT id FROM plain);
CREATE MATERIALIZED VIEW totals (label, n) AS SELECT code, sum(total) FROM plain GROUP BY code WITH NO DATA;

CREATE RULE no_delete AS ON DELETE TO measured DO INSTEAD NOTHING;

ALTER TABLE plain ENABLE ROW LEVEL SECURITY;
CREATE POLICY own ON plain FOR SELECT TO public USING (name = current_user);
CREATE POLICY write ON plain FOR UPDATE USING (flag) WITH CHECK (add(id::integer) > 0);

CREATE TABLE public.last (id uuid DEFAULT gen_random_uuid(), "when" timestamptz(3));
GRANT SELECT ON public.last TO public;
INSERT INTO public.last DEFAULT VALUES;
