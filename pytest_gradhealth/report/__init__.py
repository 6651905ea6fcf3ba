"""How a check is shown: no torch, no pytest."""
