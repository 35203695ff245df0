"""Benchmarks. Each prints its workload, its machine and its figures: `python -m benchmarks.NAME`."""
