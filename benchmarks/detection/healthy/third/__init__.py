"""Architectures of the third round, written by somebody who had not seen the rules."""

from . import generative, learning, science, signal, tabular, text, vision

MODULES = (vision, signal, text, generative, science, learning, tabular)
