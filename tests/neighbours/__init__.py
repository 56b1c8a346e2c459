"""Beside other instrumentations: one call in an environment of its own, in both orders of set-up.

``python -m tests.neighbours`` makes the environments and runs all; names as arguments run some. Each
neighbour of the table runs four times: alone with the call, we alone, they before us, we before them.
What is asked of a run stands in ``judge``.
"""
