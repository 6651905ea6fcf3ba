"""Text families of the transformers library, tiny, at its own initialisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case, Maker
from benchmarks.detection.vocabulary.batches import SPECIAL, generator, progressions
from benchmarks.detection.vocabulary.transformers import (
    BART,
    GPT,
    IDS,
    LLAMA,
    TEXT,
    WIDTH,
    Row,
    layers,
    library_case,
    text_labels,
)

BASE = TEXT | {"hidden_size": 64, "intermediate_size": 128}
SHAPES = {"shape_vocab_size": 64, "shape_embed_dim": 8, "pronunciation_vocab_size": 64, "pronunciation_embed_dim": 8}
CLASSES = text_labels()
WIDE_LLAMA = BASE | {"num_key_value_heads": 2, "head_dim": 16}
MOE = LLAMA | {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
LATENT = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
DEEPSEEK = TEXT | LATENT | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
MAMBA = IDS | {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 3, "time_step_rank": 4}
HYBRID = LLAMA | {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 8}
T5 = IDS | {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}


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


def replaced(length: int = 16, vocab: int = 64) -> Maker:
    """Counting sequences, some of whose tokens were replaced by others: which ones?"""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        g = generator(seed + 1)
        swapped = torch.rand(size, length, generator=g) < 0.3
        other = torch.randint(SPECIAL, SPECIAL + 8, (size, length), generator=g)
        return {"input_ids": torch.where(swapped, other, draw(seed, size)), "labels": swapped.long()}

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


MASKED = masked()


def causal(length: int = 16, vocab: int = 64) -> Maker:
    """Counting sequences to be continued."""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids = draw(seed, size)
        return {"input_ids": ids, "labels": ids}

    return make


CAUSAL = causal()
ENCODERS = [
    Row("bert", "BertForSequenceClassification", TEXT | layers(3), CLASSES),
    Row("bert", "BertForMaskedLM", TEXT | layers(12), MASKED, "12_layers"),
    Row("bert", "BertForSequenceClassification", TEXT | layers(24), CLASSES, "24_layers"),
    Row("bert", "BertForQuestionAnswering", TEXT, answers(), "squad"),
    Row("roberta", "RobertaForSequenceClassification", BASE | {"pad_token_id": 1} | layers(4), CLASSES),
    Row("xlm_roberta", "XLMRobertaForMaskedLM", TEXT | {"pad_token_id": 1}, MASKED),
    Row("albert", "AlbertForSequenceClassification", TEXT | {"embedding_size": 16} | layers(6), CLASSES),
    Row("electra", "ElectraForPreTraining", TEXT | {"embedding_size": 16} | layers(4), replaced()),
    Row("deberta", "DebertaForSequenceClassification", TEXT, CLASSES),
    Row(
        "deberta_v2",
        "DebertaV2ForSequenceClassification",
        BASE | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8} | layers(3),
        CLASSES,
    ),
    Row(
        "distilbert",
        "DistilBertForSequenceClassification",
        IDS | {"dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 64, "max_position_embeddings": 64},
        CLASSES,
    ),
    Row("mpnet", "MPNetForMaskedLM", TEXT | {"pad_token_id": 1}, MASKED),
    Row("squeezebert", "SqueezeBertForSequenceClassification", TEXT | {"embedding_size": 32}, CLASSES),
    Row(
        "xlnet",
        "XLNetForSequenceClassification",
        IDS | {"d_model": 32, "n_layer": 3, "n_head": 4, "d_inner": 64},
        CLASSES,
    ),
    Row("convbert", "ConvBertForSequenceClassification", TEXT | {"embedding_size": 16}, CLASSES),
    Row("fnet", "FNetForMaskedLM", TEXT | layers(4), MASKED),
    Row(
        "funnel",
        "FunnelForSequenceClassification",
        IDS | {"d_model": 32, "n_head": 4, "d_head": 8, "d_inner": 64, "block_sizes": [1, 1, 1]},
        CLASSES,
    ),
    Row("longformer", "LongformerForMaskedLM", TEXT | {"pad_token_id": 1, "attention_window": 8}, MASKED),
    Row("big_bird", "BigBirdForSequenceClassification", TEXT | {"attention_type": "original_full"}, CLASSES),
    Row(
        "nystromformer",
        "NystromformerForSequenceClassification",
        TEXT | {"num_landmarks": 4, "segment_means_seq_len": 16},
        CLASSES,
    ),
    Row("ibert", "IBertForSequenceClassification", TEXT | {"pad_token_id": 1}, CLASSES),
    Row("modernbert", "ModernBertForSequenceClassification", TEXT | layers(4), CLASSES),
    Row(
        "mobilebert",
        "MobileBertForSequenceClassification",
        TEXT | {"embedding_size": 16, "intra_bottleneck_size": 16} | layers(4),
        CLASSES,
    ),
    Row("megatron_bert", "MegatronBertForSequenceClassification", TEXT | layers(6), CLASSES),
    Row(
        "rembert",
        "RemBertForSequenceClassification",
        TEXT | {"input_embedding_size": 16, "output_embedding_size": 32},
        CLASSES,
    ),
    Row("roformer", "RoFormerForMaskedLM", TEXT | {"embedding_size": 32}, MASKED),
    Row("layoutlm", "LayoutLMForSequenceClassification", TEXT, text_labels(bbox=boxes)),
    Row(
        "lilt",
        "LiltForSequenceClassification",
        TEXT | {"pad_token_id": 1, "hidden_size": 48},
        text_labels(bbox=boxes),
    ),
    Row("ernie", "ErnieForSequenceClassification", TEXT, CLASSES),
    Row("esm", "EsmForMaskedLM", TEXT | {"mask_token_id": 3}, MASKED),
    Row("camembert", "CamembertForSequenceClassification", TEXT | {"pad_token_id": 1}, CLASSES),
    Row("data2vec_text", "Data2VecTextForSequenceClassification", TEXT | {"pad_token_id": 1}, CLASSES),
    Row("roberta_prelayernorm", "RobertaPreLayerNormForMaskedLM", TEXT | {"pad_token_id": 1} | layers(4), MASKED),
    Row(
        "roc_bert",
        "RoCBertForSequenceClassification",
        TEXT | SHAPES,
        text_labels(input_shape_ids=same, input_pronunciation_ids=same),
    ),
    Row("eurobert", "EuroBertForSequenceClassification", LLAMA, CLASSES),
    Row("nomic_bert", "NomicBertForMaskedLM", TEXT, MASKED),
    Row("splinter", "SplinterForQuestionAnswering", TEXT, answers()),
    Row("xmod", "XmodForSequenceClassification", TEXT | {"pad_token_id": 1, "default_language": "en_XX"}, CLASSES),
    Row(
        "flaubert",
        "FlaubertWithLMHeadModel",
        {"vocab_size": 64, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64},
        CAUSAL,
    ),
    Row(
        "xlm",
        "XLMForSequenceClassification",
        {"vocab_size": 64, "emb_dim": 32, "n_layers": 2, "n_heads": 4, "max_position_embeddings": 64, "n_langs": 1},
        CLASSES,
    ),
    Row(
        "canine",
        "CanineForSequenceClassification",
        WIDTH | layers(2) | {"num_hash_functions": 4, "num_hash_buckets": 64, "local_transformer_stride": 16},
        CLASSES,
    ),
    Row(
        "luke",
        "LukeForSequenceClassification",
        TEXT | {"pad_token_id": 1, "entity_vocab_size": 8, "entity_emb_size": 16},
        CLASSES,
    ),
    Row(
        "tapas",
        "TapasForSequenceClassification",
        TEXT | {"type_vocab_sizes": [3, 4, 4, 2, 4, 4, 4]},
        CLASSES,
    ),
    Row(
        "perceiver",
        "PerceiverForMaskedLM",
        {"vocab_size": 64, "max_position_embeddings": 16, "num_latents": 8, "d_latents": 32, "d_model": 32}
        | {"num_self_attends_per_block": 3, "num_self_attention_heads": 4, "num_cross_attention_heads": 4}
        | {"qk_channels": 32, "v_channels": 32},
        MASKED,
    ),
]
DECODERS = [
    Row("gpt2", "GPT2LMHeadModel", IDS | GPT | {"n_layer": 4}, CAUSAL),
    Row("gpt2", "GPT2LMHeadModel", IDS | GPT | {"n_layer": 24}, CAUSAL, "24_layers"),
    Row("gpt2", "GPT2ForSequenceClassification", IDS | GPT | {"n_embd": 64}, CLASSES, "classify"),
    Row("openai_gpt", "OpenAIGPTLMHeadModel", IDS | GPT, CAUSAL),
    Row(
        "gpt_neo",
        "GPTNeoForCausalLM",
        IDS
        | {"hidden_size": 32, "num_layers": 2, "num_heads": 4, "window_size": 8, "max_position_embeddings": 64}
        | {"attention_types": [[["global", "local"], 1]]},
        CAUSAL,
    ),
    Row("gpt_neox", "GPTNeoXForCausalLM", TEXT | layers(6), CAUSAL),
    Row("gptj", "GPTJForCausalLM", IDS | GPT | {"rotary_dim": 4}, CAUSAL),
    Row("gpt_bigcode", "GPTBigCodeForCausalLM", IDS | GPT, CAUSAL),
    Row("codegen", "CodeGenForCausalLM", IDS | GPT | {"rotary_dim": 4}, CAUSAL),
    Row("ctrl", "CTRLLMHeadModel", IDS | GPT | {"dff": 64}, CAUSAL),
    Row("opt", "OPTForCausalLM", TEXT | {"ffn_dim": 64, "word_embed_proj_dim": 16} | layers(4), CAUSAL),
    Row("bloom", "BloomForCausalLM", IDS | {"hidden_size": 32, "n_layer": 3, "n_head": 4}, CAUSAL),
    Row("falcon", "FalconForCausalLM", TEXT | layers(3), CAUSAL),
    Row("mpt", "MptForCausalLM", IDS | {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}, CAUSAL),
    Row("llama", "LlamaForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("llama", "LlamaForCausalLM", LLAMA | layers(24), CAUSAL, "24_layers"),
    Row("llama", "LlamaForSequenceClassification", WIDE_LLAMA, CLASSES, "classify"),
    Row("mistral", "MistralForCausalLM", LLAMA | {"sliding_window": 8}, CAUSAL),
    Row("qwen2", "Qwen2ForCausalLM", LLAMA | layers(3), CAUSAL),
    Row("qwen3", "Qwen3ForCausalLM", LLAMA | layers(12), CAUSAL),
    Row("gemma", "GemmaForCausalLM", LLAMA, CAUSAL),
    Row("gemma2", "Gemma2ForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("gemma3", "Gemma3ForCausalLM", LLAMA | layers(6), CAUSAL),
    Row("vaultgemma", "VaultGemmaForCausalLM", LLAMA, CAUSAL),
    Row("phi", "PhiForCausalLM", TEXT, CAUSAL),
    Row("phi3", "Phi3ForCausalLM", LLAMA | layers(3), CAUSAL),
    Row("stablelm", "StableLmForCausalLM", LLAMA, CAUSAL),
    Row("olmo", "OlmoForCausalLM", LLAMA | layers(6), CAUSAL),
    Row("olmo2", "Olmo2ForCausalLM", LLAMA | layers(12), CAUSAL),
    Row("olmo3", "Olmo3ForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("starcoder2", "Starcoder2ForCausalLM", LLAMA | layers(3), CAUSAL),
    Row("cohere", "CohereForCausalLM", LLAMA, CAUSAL),
    Row("cohere2", "Cohere2ForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("granite", "GraniteForCausalLM", LLAMA, CAUSAL),
    Row("xglm", "XGLMForCausalLM", IDS | {"d_model": 32, "num_layers": 2, "attention_heads": 4, "ffn_dim": 64}, CAUSAL),
    Row("biogpt", "BioGptForCausalLM", TEXT | layers(3), CAUSAL),
    Row("persimmon", "PersimmonForCausalLM", TEXT, CAUSAL),
    Row("nemotron", "NemotronForCausalLM", LLAMA, CAUSAL),
    Row("glm", "GlmForCausalLM", LLAMA, CAUSAL),
    Row("glm4", "Glm4ForCausalLM", LLAMA, CAUSAL),
    Row("helium", "HeliumForCausalLM", LLAMA, CAUSAL),
    Row("smollm3", "SmolLM3ForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("exaone4", "Exaone4ForCausalLM", LLAMA | layers(4), CAUSAL),
    Row("ernie4_5", "Ernie4_5ForCausalLM", LLAMA, CAUSAL),
    Row("diffllama", "DiffLlamaForCausalLM", LLAMA, CAUSAL),
    Row("apertus", "ApertusForCausalLM", LLAMA, CAUSAL),
    Row("arcee", "ArceeForCausalLM", LLAMA, CAUSAL),
    Row("bitnet", "BitNetForCausalLM", LLAMA, CAUSAL),
    Row("nanochat", "NanoChatForCausalLM", LLAMA, CAUSAL),
    Row("modernbert_decoder", "ModernBertDecoderForCausalLM", TEXT | layers(3), CAUSAL),
    Row("imagegpt", "ImageGPTForCausalImageModeling", IDS | GPT | {"vocab_size": 65}, CAUSAL),
]


def translation(length: int = 12, vocab: int = 64) -> Maker:
    """Counting sequences to be copied."""
    draw = progressions(vocab, length)

    def make(seed: int, size: int) -> dict[str, Tensor]:
        ids = draw(seed, size)
        return {"input_ids": ids, "labels": ids[:, :8].contiguous()}

    return make


COPY = translation()
EXPERTS = [
    Row("mixtral", "MixtralForCausalLM", MOE, CAUSAL),
    Row("qwen2_moe", "Qwen2MoeForCausalLM", MOE | {"shared_expert_intermediate_size": 32}, CAUSAL),
    Row("qwen3_moe", "Qwen3MoeForCausalLM", MOE | layers(3), CAUSAL),
    Row("olmoe", "OlmoeForCausalLM", MOE, CAUSAL),
    Row("deepseek_v2", "DeepseekV2ForCausalLM", DEEPSEEK | {"first_k_dense_replace": 1} | layers(3), CAUSAL),
    Row(
        "deepseek_v3",
        "DeepseekV3ForCausalLM",
        DEEPSEEK | {"n_group": 2, "topk_group": 1, "first_k_dense_replace": 1} | layers(3),
        CAUSAL,
    ),
    Row("granitemoe", "GraniteMoeForCausalLM", MOE, CAUSAL),
    Row("phimoe", "PhimoeForCausalLM", MOE, CAUSAL),
    Row("jetmoe", "JetMoeForCausalLM", MOE | {"kv_channels": 8}, CAUSAL),
    Row("gpt_oss", "GptOssForCausalLM", MOE, CAUSAL),
    Row("glm4_moe", "Glm4MoeForCausalLM", MOE | {"n_routed_experts": 4, "first_k_dense_replace": 1}, CAUSAL),
    Row("ernie4_5_moe", "Ernie4_5_MoeForCausalLM", MOE | {"moe_num_experts": 4, "moe_k": 2}, CAUSAL),
    Row(
        "dbrx",
        "DbrxForCausalLM",
        IDS
        | {"d_model": 32, "n_heads": 4, "n_layers": 2, "max_seq_len": 64}
        | {"attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0, "clip_qkv": 8.0}}
        | {"ffn_config": {"ffn_hidden_size": 64, "hidden_size": 32, "moe_num_experts": 4, "moe_top_k": 2}},
        CAUSAL,
    ),
    Row(
        "switch_transformers",
        "SwitchTransformersForConditionalGeneration",
        IDS
        | {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "num_experts": 4}
        | {"num_sparse_encoder_layers": 1, "num_sparse_decoder_layers": 1, "decoder_start_token_id": 0},
        COPY,
    ),
]


def forgetting(model: nn.Module, batch: Batch) -> Tensor:
    """The library's loss; the state that the model keeps of the last batch is dropped, as it could not be copied."""
    loss: Tensor = model(**batch).loss
    for part in model.modules():
        if hasattr(part, "recurrent_states"):
            setattr(part, "recurrent_states", None)  # noqa: B010
    return loss


RECURRENT = [
    Row("mamba", "MambaForCausalLM", MAMBA, CAUSAL),
    Row("mamba", "MambaForCausalLM", MAMBA | layers(12), CAUSAL, "12_layers"),
    Row("mamba2", "Mamba2ForCausalLM", MAMBA | {"num_heads": 8, "head_dim": 8, "n_groups": 2, "chunk_size": 8}, CAUSAL),
    Row("falcon_mamba", "FalconMambaForCausalLM", MAMBA, CAUSAL),
    Row(
        "rwkv",
        "RwkvForCausalLM",
        {"vocab_size": 64, "context_length": 32, "hidden_size": 32, "num_hidden_layers": 3, "intermediate_size": 64}
        | {"attention_hidden_size": 32},
        CAUSAL,
    ),
    Row(
        "recurrent_gemma",
        "RecurrentGemmaForCausalLM",
        LLAMA | {"lru_width": 32, "use_cache": False} | layers(3),
        CAUSAL,
        step=forgetting,
    ),
    Row(
        "jamba",
        "JambaForCausalLM",
        LLAMA
        | {"num_experts": 4, "mamba_dt_rank": 4, "mamba_d_state": 8, "use_mamba_kernels": False}
        | {"attn_layer_period": 2, "attn_layer_offset": 1}
        | layers(4),
        CAUSAL,
    ),
    Row("bamba", "BambaForCausalLM", HYBRID | {"attn_layer_indices": [1]} | layers(3), CAUSAL),
    Row(
        "zamba",
        "ZambaForCausalLM",
        LLAMA
        | {"attention_hidden_size": 64, "attention_head_dim": 16, "num_key_value_heads": 4, "mamba_dt_rank": 4}
        | {"mamba_d_state": 8, "use_mamba_kernels": False}
        | {"layers_block_type": ["linear_attention", "hybrid", "linear_attention", "hybrid"]}
        | layers(4),
        CAUSAL,
    ),
    Row(
        "zamba2",
        "Zamba2ForCausalLM",
        LLAMA
        | {"mamba_d_state": 8, "n_mamba_heads": 4, "mamba_headdim": 16, "chunk_size": 8, "num_mem_blocks": 1}
        | {"layers_block_type": ["mamba", "hybrid", "mamba"], "num_key_value_heads": 4, "adapter_rank": 8}
        | {"use_mem_rope": True}
        | layers(3),
        CAUSAL,
    ),
    Row("falcon_h1", "FalconH1ForCausalLM", HYBRID | {"mamba_d_ssm": 64}, CAUSAL),
    Row(
        "granitemoehybrid",
        "GraniteMoeHybridForCausalLM",
        HYBRID | MOE | {"layer_types": ["mamba", "attention"]},
        CAUSAL,
    ),
    Row(
        "xlstm",
        "xLSTMForCausalLM",
        IDS | {"hidden_size": 32, "num_heads": 4, "chunk_size": 16} | {"use_cache": False} | layers(2),
        CAUSAL,
    ),
    Row("lfm2", "Lfm2ForCausalLM", LLAMA | {"full_attn_idxs": [1]} | layers(3), CAUSAL),
    Row(
        "qwen3_next",
        "Qwen3NextForCausalLM",
        MOE
        | {"linear_key_head_dim": 8, "linear_value_head_dim": 8, "linear_num_key_heads": 2}
        | {"linear_num_value_heads": 4, "shared_expert_intermediate_size": 32}
        | layers(4),
        CAUSAL,
    ),
    Row(
        "nemotron_h",
        "NemotronHForCausalLM",
        LLAMA
        | {"mamba_num_heads": 4, "mamba_head_dim": 16, "ssm_state_size": 8, "n_groups": 2, "chunk_size": 8}
        | {"layers_block_type": ["mamba", "attention", "moe", "mamba"], "n_routed_experts": 4}
        | {"num_experts_per_tok": 2, "moe_intermediate_size": 32, "moe_shared_expert_intermediate_size": 32},
        CAUSAL,
    ),
]
SEQ2SEQ = [
    Row("t5", "T5ForConditionalGeneration", T5, COPY),
    Row("t5", "T5ForConditionalGeneration", T5 | {"num_layers": 6}, COPY, "6_layers"),
    Row("mt5", "MT5ForConditionalGeneration", T5, COPY),
    Row("umt5", "UMT5ForConditionalGeneration", T5, COPY),
    Row("longt5", "LongT5ForConditionalGeneration", T5 | {"local_radius": 4}, COPY),
    Row("bart", "BartForConditionalGeneration", BART, COPY),
    Row("bart", "BartForSequenceClassification", BART, text_labels(eos=True), "classify"),
    Row("mbart", "MBartForConditionalGeneration", BART | {"encoder_layers": 4}, COPY),
    Row("pegasus", "PegasusForConditionalGeneration", BART, COPY),
    Row("pegasus_x", "PegasusXForConditionalGeneration", BART | {"num_global_tokens": 4, "block_size": 4}, COPY),
    Row("bigbird_pegasus", "BigBirdPegasusForConditionalGeneration", BART | {"attention_type": "original_full"}, COPY),
    Row("marian", "MarianMTModel", BART, COPY),
    Row("blenderbot", "BlenderbotForConditionalGeneration", BART, COPY),
    Row("blenderbot_small", "BlenderbotSmallForConditionalGeneration", BART, COPY),
    Row("m2m_100", "M2M100ForConditionalGeneration", BART, COPY),
    Row("nllb_moe", "NllbMoeForConditionalGeneration", BART | {"num_experts": 4, "expert_capacity": 16}, COPY),
    Row(
        "led",
        "LEDForConditionalGeneration",
        BART | {"max_encoder_position_embeddings": 64, "max_decoder_position_embeddings": 64, "attention_window": 8},
        COPY,
    ),
    Row("plbart", "PLBartForConditionalGeneration", BART, COPY),
    Row("mvp", "MvpForConditionalGeneration", BART, COPY),
    Row(
        "fsmt",
        "FSMTForConditionalGeneration",
        BART | {"src_vocab_size": 64, "tgt_vocab_size": 64, "langs": ["de", "en"]},
        translation(8),
    ),
    Row(
        "prophetnet",
        "ProphetNetForConditionalGeneration",
        IDS
        | {"hidden_size": 32, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64, "max_position_embeddings": 64}
        | {"num_encoder_layers": 2, "num_decoder_layers": 2}
        | {"num_encoder_attention_heads": 4, "num_decoder_attention_heads": 4},
        COPY,
    ),
    Row(
        "t5gemma",
        "T5GemmaForConditionalGeneration",
        {"vocab_size": 64, "encoder": LLAMA, "decoder": LLAMA},
        COPY,
    ),
]


def cases() -> list[Case]:
    """The cases of this file."""
    return [
        library_case(row)
        for table in (
            ENCODERS,
            DECODERS,
            EXPERTS,
            RECURRENT,
            SEQ2SEQ,
        )
        for row in table
    ]
