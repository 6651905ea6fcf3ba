"""How a line of a table becomes a model of the transformers library, and what such lines share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Maker, Step
from benchmarks.detection.vocabulary.batches import token_classes

Config = dict[str, Any]
IDS: Config = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WIDTH: Config = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
TEXT: Config = IDS | WIDTH | {"num_hidden_layers": 2, "max_position_embeddings": 64}
LLAMA = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
BART = (
    IDS
    | {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 64}
    | {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
    | {"decoder_start_token_id": 2, "pad_token_id": 1, "bos_token_id": 0, "forced_eos_token_id": None}
)
VIT = WIDTH | {"image_size": 32, "patch_size": 8, "num_hidden_layers": 4, "num_labels": 4}
FOUR: Config = {"num_labels": 4}


def text_labels(length: int = 16, vocab: int = 64, eos: bool = False, **extra: Callable[[Tensor], Tensor]) -> Maker:
    """Sentences with a class; ``extra`` derives further inputs from the token ids."""
    draw = token_classes(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids, labels = draw(seed, size)
        if eos:  # the classifier of the BART family reads the hidden state at this token
            ids[:, -1] = 2
        return {"input_ids": ids, "labels": labels} | {key: derive(ids) for key, derive in extra.items()}

    return make


@dataclass(frozen=True)
class Row:
    """One line of the table: family, model class, its configuration and its batches."""

    family: str
    model: str
    config: Config
    batch: Maker
    variant: str = ""
    step: Step | None = None


@dataclass(frozen=True)
class Sub:
    """A configuration inside another, for classes that want the object and not a dictionary."""

    name: str
    config: Config


def library_loss(model: nn.Module, batch: Batch) -> Tensor:
    """The loss as the library's own training loop takes it."""
    loss: Tensor = model(**batch).loss
    return loss.mean()


def resolve(value: Any) -> Any:
    """The configuration object that a ``Sub`` stands for; anything else as it is."""
    import transformers

    if not isinstance(value, Sub):
        return value
    return getattr(transformers, value.name)(**{key: resolve(part) for key, part in value.config.items()})


def build(model: str, config: Config) -> nn.Module:
    """The model at the library's default initialisation, ready for training."""
    import transformers  # only here: it takes seconds, and most users of the benchmark list cases without it

    made = getattr(transformers, model)
    network: nn.Module = made(made.config_class(**{key: resolve(value) for key, value in config.items()}))
    return network.train()


def library_case(row: Row) -> Case:
    """The case that a line of the table describes."""
    return Case(
        name=f"hf_{row.family}{'_' + row.variant if row.variant else ''}",
        host=f"hf/{row.family}",
        build=partial(build, row.model, row.config),
        batch=row.batch,
        step=row.step or library_loss,
    )


def layers(count: int) -> Config:
    """How deep."""
    return {"num_hidden_layers": count}
