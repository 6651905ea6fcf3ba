"""The healthy half of the detection benchmark: architectures at their own initialisation, none of them tuned."""

from __future__ import annotations

from benchmarks.detection.cases import Case
from benchmarks.detection.healthy import (
    adapters,
    fresh_generative,
    fresh_learning,
    fresh_sequence,
    fresh_tabular,
    fresh_vision,
    generative,
    graph,
    reinforcement,
    sequence,
    tabular,
    third_generative,
    third_learning,
    third_science,
    third_signal,
    third_tabular,
    third_text,
    third_vision,
    torch_nn,
    transformers_zoo,
    vision,
)

MODULES = (torch_nn, vision, generative, sequence, graph, adapters, reinforcement, tabular, transformers_zoo)
FRESH = (fresh_vision, fresh_generative, fresh_sequence, fresh_tabular, fresh_learning)
THIRD = (third_vision, third_signal, third_text, third_generative, third_science, third_learning, third_tabular)


def healthy_cases() -> list[Case]:
    """Every healthy case, in a fixed order."""
    return [case for module in (*MODULES, *FRESH, *THIRD) for case in module.cases()]
