-- The database that every case starts from. The superuser runs this in an
-- empty one.
SET client_min_messages = warning;
GRANT CREATE ON SCHEMA public TO tblowner;

SET ROLE tblowner;

CREATE TABLE public.customers (
  id int PRIMARY KEY,
  name text NOT NULL,
  email text UNIQUE,
  ssn text,
  card text,
  notes text,
  balance numeric(12, 2) CONSTRAINT balance_nonneg CHECK (balance >= 0)
);
INSERT INTO public.customers VALUES
  (1, 'Alice', 'alice@secret.example', '111-22-3333', '4111111111111111', 'vip', 1000.00),
  (2, 'Bob', 'bob@secret.example', '222-33-4444', '5500005555555559', 'none', 50.50),
  (3, 'Carol', 'carol@secret.example', '333-44-5555', '340000000000009', 'n/a', 0);

-- What may not be written, and is reached by a cascade.
CREATE TABLE public.orders (
  id int PRIMARY KEY,
  customer_id int REFERENCES public.customers (id) ON DELETE CASCADE,
  total numeric,
  item text
);
INSERT INTO public.orders VALUES (10, 1, 9.99, 'book'), (11, 2, 5, 'pen');

-- The protected column under other names.
CREATE VIEW public.v_customers AS SELECT id AS cid, name, email AS contact FROM public.customers;
CREATE VIEW public.v2 AS SELECT cid, contact || '' AS c2 FROM public.v_customers;
CREATE MATERIALIZED VIEW public.mv_customers AS SELECT id, email AS mv_mail FROM public.customers;

CREATE TABLE public.events (id int, customer_id int, email text, at date) PARTITION BY RANGE (at);
CREATE TABLE public.events_2024 PARTITION OF public.events FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
INSERT INTO public.events VALUES (1, 1, 'alice@secret.example', '2024-05-05');

-- Code that somebody trusted has left here.
CREATE FUNCTION public.get_email(i int) RETURNS text LANGUAGE sql STABLE
  AS 'SELECT email FROM public.customers WHERE id = i';
CREATE FUNCTION public.get_email_pl(i int) RETURNS text LANGUAGE plpgsql
  AS $$ DECLARE r text; BEGIN EXECUTE 'SELECT em'||'ail FROM public.cust'||'omers WHERE id = $1' INTO r USING i; RETURN r; END $$;
CREATE FUNCTION public.get_email_sd(i int) RETURNS text LANGUAGE sql SECURITY DEFINER STABLE
  AS 'SELECT email FROM public.customers WHERE id = i';
CREATE FUNCTION public.list_customers() RETURNS SETOF public.customers LANGUAGE sql STABLE
  AS 'SELECT * FROM public.customers';
CREATE FUNCTION public.cust_table() RETURNS TABLE (a int, b text) LANGUAGE sql STABLE
  AS 'SELECT id, email FROM public.customers';
CREATE FUNCTION public.email_of(c public.customers) RETURNS text LANGUAGE sql STABLE
  AS 'SELECT c.email';
CREATE FUNCTION public.cust_cursor() RETURNS refcursor LANGUAGE plpgsql
  AS $$ DECLARE r refcursor; BEGIN OPEN r FOR SELECT email FROM public.customers ORDER BY id; RETURN r; END $$;
CREATE PROCEDURE public.read_email(IN i int, INOUT r text) LANGUAGE plpgsql
  AS $$ BEGIN SELECT email INTO r FROM public.customers WHERE id = i; END $$;
CREATE PROCEDURE public.purge_orders() LANGUAGE sql
  AS 'DELETE FROM public.orders';
CREATE FUNCTION public.purge_orders_fn() RETURNS int LANGUAGE sql
  AS 'DELETE FROM public.orders; SELECT 1';
CREATE FUNCTION public.purge_orders_sd() RETURNS int LANGUAGE sql SECURITY DEFINER
  AS 'DELETE FROM public.orders; SELECT 1';

GRANT SELECT ON ALL TABLES IN SCHEMA public TO app, analyst;
GRANT INSERT, UPDATE, DELETE ON public.customers, public.orders, public.events, public.events_2024 TO app;

RESET ROLE;

CREATE SCHEMA app_schema AUTHORIZATION app;
CREATE EXTENSION hstore;
CREATE EXTENSION tablefunc;
CREATE EXTENSION dblink;
CREATE EXTENSION postgres_fdw;
CREATE EXTENSION pageinspect;
CREATE EXTENSION xml2;
CREATE EXTENSION file_fdw;
ANALYZE;
