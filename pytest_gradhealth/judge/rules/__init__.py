"""One module for each rule, named by its slug: see ``judge/registry.py`` and CONTRIBUTING.md."""
