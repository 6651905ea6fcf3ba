"""Architectures of the fourth round, written by somebody who had not seen the rules."""

from . import generative, science, text, vision

MODULES = (text, generative, science, vision)
