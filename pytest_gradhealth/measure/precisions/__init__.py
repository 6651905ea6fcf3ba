"""Number formats: how a model is measured in one, and what a gradient would lose in one."""
