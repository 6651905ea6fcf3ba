"""Pure functions over records: no torch, no pytest."""
