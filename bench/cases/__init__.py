"""One benchmark a file; each has a `CASE` (see bench/case.py)."""
