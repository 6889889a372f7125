"""Benchmarks beside their peers: `make bench` runs all, `python -m bench --only NAME` one.

A case is one file in `bench/cases/`; `bench/case.py` documents its shape.
"""
