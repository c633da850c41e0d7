"""What the Python clients share: a line for each step, or its error."""


def step(name, action):
    try:
        print(f"{name}: {action()!r}", flush=True)
    except Exception as e:
        code = getattr(e, "pgcode", None) or getattr(e, "sqlstate", None) or getattr(getattr(e, "orig", None), "pgcode", None)
        print(f"{name}: {type(e).__name__} {code} {str(e).strip()}", flush=True)
