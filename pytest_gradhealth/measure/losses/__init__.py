"""The loss: where it comes from, and what its graph is made of."""
