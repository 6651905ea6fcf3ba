"""Torch lives here and nowhere else; imported only when something is measured."""
