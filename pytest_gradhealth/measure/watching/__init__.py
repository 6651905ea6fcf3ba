"""Watching a test that trains by itself."""
