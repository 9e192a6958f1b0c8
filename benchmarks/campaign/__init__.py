"""The lines of `benchmarks/faults.py`: each tries one kind of fault, and says what it did."""
