"""Audio and time series families of the transformers library, tiny, at its own initialisation."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.vocabulary.batches import SPECIAL, generator, pictures, prototypes
from benchmarks.detection.vocabulary.transformers import BART, FOUR, TEXT, VIT, WIDTH, Row, library_case

CONVS = {"conv_dim": [16, 16, 16], "conv_stride": [5, 2, 2], "conv_kernel": [10, 3, 2]}
WAV = (
    WIDTH
    | CONVS
    | {"vocab_size": 16, "num_hidden_layers": 3, "mask_time_length": 2}
    | {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16}
)
WHISPER = BART | {"num_mel_bins": 16, "max_source_positions": 16, "max_target_positions": 32}
CLOCK = {"prediction_length": 8, "context_length": 16, "lags_sequence": [1, 2, 4, 8], "num_time_features": 1} | {
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
PATCH = {"context_length": 32, "prediction_length": 8, "patch_length": 8, "num_input_channels": 2, "d_model": 16}


def speech(samples: int = 400, key: str = "input_values", letters: int = 3) -> Maker:
    """Sound with a short transcript: one letter per pitch."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        labels = torch.randint(1, 8, (size, letters), generator=g)
        pitch = labels.repeat_interleave(-(-samples // letters), dim=1)[:, :samples]
        x = torch.sin(pitch * torch.linspace(0, 60, samples)) + 0.1 * torch.randn(size, samples, generator=g)
        return {key: x, "labels": labels}

    return make


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


def sound(samples: int = 400, classes: int = 4) -> Maker:
    """Tones whose pitch is the class."""

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed)
        labels = torch.randint(classes, (size,), generator=g)
        time = torch.linspace(0, 60, samples)
        x = torch.sin((labels[:, None] + 1) * time) + 0.1 * torch.randn(size, samples, generator=g)
        return {"input_values": x, "labels": labels}

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


SPEECH = speech()
SOUND = sound()
AUDIO = [
    Row("wav2vec2", "Wav2Vec2ForCTC", WAV, SPEECH, step=augmented),
    Row("wav2vec2", "Wav2Vec2ForSequenceClassification", WAV | FOUR, SOUND, "classify", step=augmented),
    Row("hubert", "HubertForCTC", WAV, SPEECH, step=augmented),
    Row("wavlm", "WavLMForCTC", WAV | {"num_buckets": 32, "max_bucket_distance": 64}, SPEECH, step=augmented),
    Row("sew", "SEWForCTC", WAV, SPEECH, step=augmented),
    Row(
        "sew_d",
        "SEWDForCTC",
        WAV | {"position_buckets": 16, "max_position_embeddings": 64},
        SPEECH,
        step=augmented,
    ),
    Row("unispeech", "UniSpeechForCTC", WAV, SPEECH, step=augmented),
    Row("unispeech_sat", "UniSpeechSatForCTC", WAV, SPEECH, step=augmented),
    Row(
        "data2vec_audio",
        "Data2VecAudioForCTC",
        WAV | {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2},
        SPEECH,
        step=augmented,
    ),
    Row(
        "wav2vec2_conformer",
        "Wav2Vec2ConformerForCTC",
        WAV | {"conv_depthwise_kernel_size": 5, "max_source_positions": 64},
        SPEECH,
        step=augmented,
    ),
    Row("whisper", "WhisperForConditionalGeneration", WHISPER, spectrogram("input_features", 32, 16, last=False)),
    Row(
        "speech_to_text",
        "Speech2TextForConditionalGeneration",
        BART
        | {"input_feat_per_channel": 16, "conv_channels": 32, "max_source_positions": 64, "max_target_positions": 32},
        spectrogram("input_features", 32, 16, last=True),
    ),
    Row(
        "audio_spectrogram_transformer",
        "ASTForAudioClassification",
        VIT | {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8, "time_stride": 8},
        spectrogram("input_values", 32, 16, last=True, transcript=False),
    ),
    Row(
        "moonshine",
        "MoonshineForConditionalGeneration",
        TEXT
        | {"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2, "decoder_start_token_id": 1}
        | {"encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4},
        speech(2000),
    ),
    Row(
        "dac",
        "DacModel",
        {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "decoder_hidden_size": 32, "n_codebooks": 2}
        | {"codebook_size": 16, "codebook_dim": 4},
        raw(),
        step=coded,
    ),
]


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


def patches(context: int, horizon: int = 8, channels: int = 2) -> Maker:
    """The same series for the models that work on patches of it and know no time features."""
    draw = series(context, horizon, channels, lags=0)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        batch = draw(seed, size)
        return {key: batch[key] for key in ("past_values", "future_values")}

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


TIMES = series(16)
SERIES = [
    Row("time_series_transformer", "TimeSeriesTransformerForPrediction", CLOCK, TIMES),
    Row("informer", "InformerForPrediction", CLOCK, TIMES),
    Row("autoformer", "AutoformerForPrediction", CLOCK, TIMES),
    Row(
        "patchtst",
        "PatchTSTForPrediction",
        PATCH | {"patch_stride": 8, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 32},
        patches(32),
    ),
    Row("patchtsmixer", "PatchTSMixerForPrediction", PATCH | {"patch_stride": 8, "num_layers": 3}, patches(32)),
    Row(
        "decision_transformer",
        "DecisionTransformerModel",
        {"state_dim": 6, "act_dim": 3, "hidden_size": 32, "n_layer": 3, "n_head": 4, "max_ep_len": 32},
        episodes(),
        step=imitate,
    ),
]


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        library_case(row)
        for table in (
            AUDIO,
            SERIES,
        )
        for row in table
    ]
