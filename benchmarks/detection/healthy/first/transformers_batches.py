"""Batches for the models of the transformers library: small, and with labels that follow from the input."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch
from benchmarks.detection.healthy.common import (
    SPECIAL,
    Maker,
    generator,
    pictures,
    progressions,
    prototypes,
    token_classes,
)


def text_labels(length: int = 16, vocab: int = 64, eos: bool = False, **extra: Callable[[Tensor], Tensor]) -> Maker:
    """Sentences with a class; ``extra`` derives further inputs from the token ids."""
    draw = token_classes(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids, labels = draw(seed, size)
        if eos:  # the classifier of the BART family reads the hidden state at this token
            ids[:, -1] = 2
        return {"input_ids": ids, "labels": labels} | {key: derive(ids) for key, derive in extra.items()}

    return make


def masked(length: int = 16, vocab: int = 64) -> Maker:
    """Counting sequences with a quarter of the tokens masked, which are to be restored."""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids = draw(seed, size)
        hidden = torch.rand(ids.shape, generator=generator(seed + 1)) < 0.25
        hidden[:, 5] = True
        return {"input_ids": ids.masked_fill(hidden, 3), "labels": ids.masked_fill(~hidden, -100)}

    return make


def causal(length: int = 16, vocab: int = 64) -> Maker:
    """Counting sequences to be continued."""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids = draw(seed, size)
        return {"input_ids": ids, "labels": ids}

    return make


def translation(length: int = 12, vocab: int = 64) -> Maker:
    """Counting sequences to be copied."""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids = draw(seed, size)
        return {"input_ids": ids, "labels": ids[:, :8].contiguous()}

    return make


def answers(length: int = 16, vocab: int = 64) -> Maker:
    """Sequences with the place of one marked token as the answer."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        ids = torch.randint(SPECIAL + 1, vocab, (size, length), generator=g)
        place = torch.randint(1, length - 1, (size,), generator=g)
        ids[torch.arange(size), place] = SPECIAL
        return {"input_ids": ids, "start_positions": place, "end_positions": place + 1}

    return make


def same(ids: Tensor) -> Tensor:
    """The token ids once more."""
    return ids


def boxes(ids: Tensor) -> Tensor:
    """Page coordinates of tokens that stand in one line."""
    left = torch.arange(ids.shape[1]).expand(ids.shape) * 2
    return torch.stack([left, left * 0 + 1, left + 2, left * 0 + 4], dim=-1)


def photos(side: int = 32, classes: int = 4, channels: int = 3) -> Maker:
    """Images with a class."""
    draw = pictures(channels, side, classes)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        x, labels = draw(seed, size)
        return {"pixel_values": x, "labels": labels}

    return make


def clips(frames: int = 4, side: int = 16) -> Maker:
    """Still videos with a class."""
    draw = pictures(3, side)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        x, labels = draw(seed, size)
        return {"pixel_values": x[:, None].repeat(1, frames, 1, 1, 1), "labels": labels}

    return make


def unlabelled(side: int = 32) -> Maker:
    """Images alone."""
    draw = pictures(3, side)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        return {"pixel_values": draw(seed, size)[0]}

    return make


def maps(side: int = 32, classes: int = 3, shrink: int = 1) -> Maker:
    """Images whose pixels are to be labelled by their brightness."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        coarse = torch.randint(classes, (size, 1, 4, 4), generator=g)
        labels = F.interpolate(coarse.float(), size=(side, side))
        x = labels - 1 + 0.3 * torch.randn(size, 3, side, side, generator=g)
        target = labels[:, 0, ::shrink, ::shrink].long()
        return {"pixel_values": x, "labels": target}

    return make


def sound(samples: int = 400, classes: int = 4) -> Maker:
    """Tones whose pitch is the class."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        time = torch.linspace(0, 60, samples)
        x = torch.sin((labels[:, None] + 1) * time) + 0.1 * torch.randn(size, samples, generator=g)
        return {"input_values": x, "labels": labels}

    return make


def speech(samples: int = 400, key: str = "input_values", letters: int = 3) -> Maker:
    """Sound with a short transcript: one letter per pitch."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        labels = torch.randint(1, 8, (size, letters), generator=g)
        pitch = labels.repeat_interleave(-(-samples // letters), dim=1)[:, :samples]
        x = torch.sin(pitch * torch.linspace(0, 60, samples)) + 0.1 * torch.randn(size, samples, generator=g)
        return {key: x, "labels": labels}

    return make


def forgetting(model: nn.Module, batch: Batch) -> Tensor:
    """The library's loss; the state that the model keeps of the last batch is dropped, as it could not be copied."""
    loss: Tensor = model(**batch).loss
    for part in model.modules():
        if hasattr(part, "recurrent_states"):
            setattr(part, "recurrent_states", None)  # noqa: B010
    return loss


def augmented(model: nn.Module, batch: Batch) -> Tensor:
    """The library's loss; its masking draws from numpy, which therefore is to follow torch's seed."""
    np.random.seed(int(torch.randint(2**31, ())))
    loss: Tensor = model(**batch).loss
    return loss


def spectrogram(key: str, frames: int, bands: int, last: bool, transcript: bool = True, length: int = 5) -> Maker:
    """Random spectrograms around a pattern, with a transcript (or a class) that belongs to the pattern."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        x, label = pictures(1, 32)(seed, size)
        image = F.interpolate(x, size=(frames, bands))[:, 0]
        words = SPECIAL + label[:, None] + torch.arange(length)
        return {key: image if last else image.transpose(1, 2), "labels": words if transcript else label}

    return make


def pairs(side: int = 32, length: int = 8, vocab: int = 64, **extra: Any) -> Maker:
    """Images and the captions that belong to them; ``extra`` goes into the batch as it is."""
    draw = pictures(3, side)

    def make(seed: int, size: int) -> dict[str, Any]:
        x, label = draw(seed, size)
        ids = torch.randint(SPECIAL, vocab - 1, (size, length), generator=generator(seed))
        ids[:, 1] = SPECIAL + label
        ids[:, -1] = vocab - 1
        return {"pixel_values": x, "input_ids": ids} | extra

    return make


def captions(side: int = 32, length: int = 8, vocab: int = 64, image_tokens: int = 0, image_token: int = 2) -> Maker:
    """Images to be described; models that splice image features into the text get places for them in front."""
    draw = pairs(side, length, vocab)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = draw(seed, size)
        words = batch["input_ids"]
        room = torch.full((size, image_tokens), image_token)
        batch["labels"] = torch.cat([room.fill_(-100).clone(), words], dim=1)
        batch["input_ids"] = torch.cat([room.fill_(image_token), words], dim=1)
        return batch

    return make


def questions(side: int = 32, length: int = 8, classes: int = 4) -> Maker:
    """Images and questions with a one-hot answer."""
    draw = pairs(side, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        batch: dict[str, Tensor] = draw(seed, size)
        label = (batch["input_ids"][:, 1] - SPECIAL) % classes
        return batch | {"labels": F.one_hot(label, classes).float()}

    return make


def series(context: int, horizon: int = 8, channels: int = 0, features: int = 1, lags: int = 8) -> Maker:
    """Noisy sines with their continuation, in the form the probabilistic forecasters want."""
    width = channels or 1

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        total = context + lags + horizon
        phase = 6.283 * torch.rand(size, 1, width, generator=g)
        x = torch.sin(torch.arange(total)[None, :, None] * 0.5 + phase)
        x = x + 0.1 * torch.randn(x.shape, generator=g)
        return forecasting(x if channels else x[..., 0], total - horizon, features)

    return make


def forecasting(x: Tensor, past: int, features: int) -> dict[str, Tensor]:
    """A series cut into past and future, with its age as the time feature."""
    age = torch.linspace(0, 1, x.shape[1])[None, :, None].expand(x.shape[0], -1, features)
    return {
        "past_values": x[:, :past],
        "past_time_features": age[:, :past],
        "past_observed_mask": torch.ones_like(x[:, :past]),
        "future_values": x[:, past:],
        "future_time_features": age[:, past:],
    }


def patches(context: int, horizon: int = 8, channels: int = 2) -> Maker:
    """The same series for the models that work on patches of it and know no time features."""
    draw = series(context, horizon, channels, lags=0)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        batch = draw(seed, size)
        return {key: batch[key] for key in ("past_values", "future_values")}

    return make


def replaced(length: int = 16, vocab: int = 64) -> Maker:
    """Counting sequences, some of whose tokens were replaced by others: which ones?"""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed + 1)
        swapped = torch.rand(size, length, generator=g) < 0.3
        other = torch.randint(SPECIAL, SPECIAL + 8, (size, length), generator=g)
        return {"input_ids": torch.where(swapped, other, draw(seed, size)), "labels": swapped.long()}

    return make


def objects(side: int = 32, classes: int = 4) -> Maker:
    """Images with one box each, whose place and class belong to the pattern."""
    draw = pictures(3, side, classes)

    def make(seed: int, size: int) -> dict[str, Any]:
        x, label = draw(seed, size)
        corner = 0.3 + 0.1 * label[:, None].float()
        box = torch.cat([corner, corner, corner / 2, corner / 2], dim=1)
        targets = [{"class_labels": label[i : i + 1], "boxes": box[i : i + 1]} for i in range(size)]
        return {"pixel_values": x, "labels": targets}

    return make


def raw(samples: int = 256) -> Maker:
    """Sound alone, with its channel."""
    draw = sound(samples)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        return {"input_values": draw(seed, size)["input_values"][:, None]}

    return make


def coded(model: nn.Module, batch: Batch) -> Tensor:
    """Reconstruction error of a neural codec, with its own quantiser loss where it reports one."""
    out = model(**batch)
    sound = out.audio_values.reshape(batch["input_values"].shape[0], 1, -1)
    target = batch["input_values"][..., : sound.shape[-1]]
    quantiser = getattr(out, "loss", None)
    return F.l1_loss(sound, target) + (0.0 if quantiser is None else quantiser.mean())


def phrases(side: int = 32) -> Maker:
    """Images, phrases and the mask that the phrase asks for."""
    draw = pairs(side)

    def make(seed: int, size: int) -> dict[str, Any]:
        batch: dict[str, Any] = draw(seed, size)
        mask = (batch["pixel_values"].mean(dim=1) > 0).float()
        return batch | {"labels": F.interpolate(mask[:, None], size=(side, side))[:, 0]}

    return make


def regions(classes: int = 4, places: int = 4, width: int = 16) -> Maker:
    """Questions with features of image regions, and the distribution over answers."""
    text = text_labels()

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        answer = torch.randint(classes, (size,), generator=g)
        visual = prototypes(classes, width)[answer][:, None] + torch.randn(size, places, width, generator=g)
        ids = text(seed, size)["input_ids"]
        attended = torch.ones(size, ids.shape[1] + places, dtype=torch.long)
        return {
            "input_ids": ids,
            "visual_embeds": visual,
            "attention_mask": attended[:, places:],
            "visual_attention_mask": attended[:, :places],
            "labels": F.one_hot(answer, classes).float(),
        }

    return make


def described(side: int = 32, length: int = 6) -> Maker:
    """Images and the text that a decoder is to write about them."""
    draw = pairs(side, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        batch = draw(seed, size)
        return {"pixel_values": batch["pixel_values"], "labels": batch["input_ids"]}

    return make


def episodes(length: int = 8, states: int = 6, actions: int = 3) -> Maker:
    """Trajectories of an expert whose actions are a function of the state."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        state = torch.randn(size, length, states, generator=g)
        action = torch.tanh(state @ prototypes(states, actions))
        reward = torch.rand(size, length, 1, generator=g)
        return {
            "states": state,
            "actions": action,
            "rewards": reward,
            "returns_to_go": reward.flip(1).cumsum(1).flip(1),
            "timesteps": torch.arange(length).expand(size, -1),
            "attention_mask": torch.ones(size, length),
        }

    return make


def imitate(model: nn.Module, batch: Batch) -> Tensor:
    """The decision transformer's loss: its actions against the expert's."""
    predicted: Tensor = model(**batch).action_preds
    return F.mse_loss(predicted, batch["actions"])


def flava(side: int = 32, patches_across: int = 4) -> Maker:
    """Images and captions, both partly masked, half of the pairs wrong."""
    draw = pairs(side)

    def make(seed: int, size: int) -> dict[str, Any]:
        batch: dict[str, Any] = draw(seed, size)
        g = generator(seed + 1)
        ids = batch["input_ids"]
        hidden = torch.rand(ids.shape, generator=g) < 0.25
        hidden[:, 1] = True
        return batch | {
            "input_ids_masked": ids.masked_fill(hidden, 3),
            "mlm_labels": ids.masked_fill(~hidden, -100),
            "bool_masked_pos": torch.rand(size, patches_across, patches_across, generator=g) < 0.4,
            "codebook_pixel_values": batch["pixel_values"].sigmoid(),
            "itm_labels": torch.arange(size) % 2,
            "return_loss": True,
        }

    return make
