"""The base: which commit it is, its files, its report."""
