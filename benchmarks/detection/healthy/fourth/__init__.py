"""Architectures of the fourth round, written by somebody who had not seen the rules."""

from . import generative, learning, science, series, text, vision

MODULES = (text, generative, learning, science, series, vision)
