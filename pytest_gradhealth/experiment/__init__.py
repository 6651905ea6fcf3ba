"""Counterfactuals: one thing changed on a copy of a model, measured and judged as the model itself was."""
