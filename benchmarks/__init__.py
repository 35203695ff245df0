"""Measured speeds, each printed with its workload and machine: `python -m benchmarks.NAME`."""
