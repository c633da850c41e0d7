CREATE SCHEMA billing;
CREATE SCHEMA audit;
CREATE SCHEMA secrets;

CREATE TABLE billing.invoices (
    id       bigint PRIMARY KEY,
    customer bigint NOT NULL,
    status   text NOT NULL CHECK (status IN ('draft', 'sent', 'paid', 'void')),
    total    numeric(12,2) NOT NULL
);

CREATE TABLE audit.log (
    at    timestamptz NOT NULL DEFAULT now(),
    who   text NOT NULL DEFAULT session_user,
    what  text NOT NULL
);

CREATE TABLE secrets.keys (
    name  text PRIMARY KEY,
    value bytea NOT NULL
);

CREATE FUNCTION audit.note() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit.log (what) VALUES (TG_OP || ' ' || NEW.id);
    RETURN NEW;
END
$$;

CREATE TRIGGER note AFTER INSERT OR UPDATE ON billing.invoices
    FOR EACH ROW EXECUTE FUNCTION audit.note();
