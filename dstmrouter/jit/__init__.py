"""Compiled code: what Numba needs of us, for whoever has a loop over packets.

Importing anything here imports Numba, a quarter of a second: workers do it when they already
forward.
"""
