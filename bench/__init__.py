"""Benchmarks, beside their peers: `make bench` runs all, `python -m bench NAME` one."""
