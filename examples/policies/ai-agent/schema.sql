CREATE SCHEMA warehouse;

CREATE TABLE warehouse.employees (
    id         integer PRIMARY KEY,
    full_name  text NOT NULL,
    email      text NOT NULL,
    department text NOT NULL,
    salary     numeric(10,2) NOT NULL
);

CREATE TABLE warehouse.events (
    id          bigint PRIMARY KEY,
    employee_id integer NOT NULL REFERENCES warehouse.employees,
    kind        text NOT NULL,
    at          timestamptz NOT NULL,
    payload     jsonb NOT NULL DEFAULT '{}'
);

CREATE MATERIALIZED VIEW warehouse.daily AS
    SELECT date_trunc('day', at) AS day, kind, count(*) AS events
    FROM warehouse.events
    GROUP BY 1, 2
WITH DATA;

CREATE FUNCTION warehouse.refresh() RETURNS void
    LANGUAGE plpgsql AS $$ BEGIN EXECUTE 'REFRESH MATERIALIZED VIEW warehouse.daily'; END $$;
