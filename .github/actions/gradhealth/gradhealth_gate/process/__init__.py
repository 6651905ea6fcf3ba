"""Processes: the gate's own, kept apart from the tests, and those that it starts and ends."""
