"""What the Python clients share: a line for each step, or its error."""
import time


def step(name, action):
    try:
        print(f"{name}: {action()!r}", flush=True)
    except Exception as e:
        code = getattr(e, "pgcode", None) or getattr(e, "sqlstate", None) or getattr(getattr(e, "orig", None), "pgcode", None)
        print(f"{name}: {type(e).__name__} {code} {str(e).strip()}", flush=True)


def await_sleep(look):
    """Waits until the server runs select pg_sleep(60), or half a minute: look runs a query and gives its rows."""
    query = "select 1 from pg_stat_activity where state = 'active' and query = 'select pg_sleep(60)'"
    for _ in range(1500):
        if look(query):
            return
        time.sleep(0.02)
