"""Architectures of the fourth round, written by somebody who had not seen the rules."""

from . import generative, science, series, text, vision

MODULES = (text, generative, science, series, vision)
