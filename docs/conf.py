"""The site: ``sphinx-build -W --keep-going docs build/site``."""

from __future__ import annotations

from importlib.metadata import version as _version

project = "pytest-gradhealth"
author = copyright = "The pytest-gradhealth maintainers"
release = version = _version("pytest-gradhealth")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist", "linkify"]
myst_heading_anchors = 3
source_suffix = {".md": "markdown"}
exclude_patterns = ["build"]
nitpicky = False

html_theme = "furo"
html_title = f"pytest-gradhealth {release}"
html_static_path: list[str] = []
html_theme_options = {
    "source_repository": "https://github.com/pytest-gradhealth/pytest-gradhealth/",
    "source_branch": "main",
    "source_directory": "docs/",
}
html_copy_source = False
copybutton_prompt_text = r"\$ |>>> "
copybutton_prompt_is_regexp = True
linkcheck_anchors = False
linkcheck_timeout = 10

autodoc_typehints = "description"
autodoc_member_order = "bysource"
