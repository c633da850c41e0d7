-- The roles of the corpus. They are the cluster's and stay there.
DO $$
DECLARE
  r record;
BEGIN
  FOR r IN SELECT * FROM (VALUES
    ('app', 'LOGIN NOINHERIT'),
    ('analyst', 'LOGIN'),
    ('tblowner', 'LOGIN'),
    ('pii_reader', 'LOGIN'),
    ('repl', 'LOGIN REPLICATION')) AS wanted(name, attributes)
  LOOP
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = r.name) THEN
      EXECUTE format('CREATE ROLE %I %s', r.name, r.attributes);
    END IF;
  END LOOP;
END
$$;
GRANT pii_reader TO app;
