"""Measurements: one file each. `memlake compute list` shows them by the first line of their docstrings.

A module has VERSION (raised by hand when the same settings give other rows), TABLES (what it writes, in order of
commit), `plan(lake, subject, request)` -> cells, and `work(cell, lake)`, which runs on a worker.
"""
