"""The gate on pull requests: standard library, plus the pure parts of the package beside it."""
