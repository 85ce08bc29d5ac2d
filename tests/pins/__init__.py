"""What may not change while memlake is rebuilt inside: ids, columns, command lines, and what they print.

Everything is taken from outside: commands as they are typed, and SQL over the lake that they make. If a change of one
of them is meant, write the golden files anew with `python -m tests.pins.make`, and look at their diff.
"""
