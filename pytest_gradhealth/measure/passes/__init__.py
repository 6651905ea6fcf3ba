"""Observing one forward and backward pass: hooks, statistics, the operations and the modules that took part."""
