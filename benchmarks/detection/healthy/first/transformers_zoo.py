"""Families of the transformers library, tiny, with random weights at the library's own initialisation."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmarks.detection.cases import Batch, Case
from benchmarks.detection.healthy.common import Maker, Step
from benchmarks.detection.healthy.first import transformers_batches as batches

Config = dict[str, Any]


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


def case(row: Row) -> Case:
    """The case that a line of the table describes."""
    return Case(
        name=f"hf_{row.family}{'_' + row.variant if row.variant else ''}",
        host=f"hf/{row.family}",
        build=partial(build, row.model, row.config),
        batch=row.batch,
        step=row.step or library_loss,
    )


IDS: Config = {"vocab_size": 64, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
WIDTH: Config = {"hidden_size": 32, "num_attention_heads": 4, "intermediate_size": 64}
TEXT: Config = IDS | WIDTH | {"num_hidden_layers": 2, "max_position_embeddings": 64}
BASE = TEXT | {"hidden_size": 64, "intermediate_size": 128}
LLAMA = TEXT | {"num_key_value_heads": 2, "head_dim": 8}
WIDE_LLAMA = BASE | {"num_key_value_heads": 2, "head_dim": 16}
MOE = LLAMA | {"num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}


def layers(count: int) -> Config:
    """How deep."""
    return {"num_hidden_layers": count}


SHAPES = {"shape_vocab_size": 64, "shape_embed_dim": 8, "pronunciation_vocab_size": 64, "pronunciation_embed_dim": 8}
CLASSES, MASKED, CAUSAL, COPY = batches.text_labels(), batches.masked(), batches.causal(), batches.translation()

ENCODERS = [
    Row("bert", "BertForSequenceClassification", TEXT | layers(3), CLASSES),
    Row("bert", "BertForMaskedLM", TEXT | layers(12), MASKED, "12_layers"),
    Row("bert", "BertForSequenceClassification", TEXT | layers(24), CLASSES, "24_layers"),
    Row("bert", "BertForQuestionAnswering", TEXT, batches.answers(), "squad"),
    Row("roberta", "RobertaForSequenceClassification", BASE | {"pad_token_id": 1} | layers(4), CLASSES),
    Row("xlm_roberta", "XLMRobertaForMaskedLM", TEXT | {"pad_token_id": 1}, MASKED),
    Row("albert", "AlbertForSequenceClassification", TEXT | {"embedding_size": 16} | layers(6), CLASSES),
    Row("electra", "ElectraForPreTraining", TEXT | {"embedding_size": 16} | layers(4), batches.replaced()),
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
    Row("layoutlm", "LayoutLMForSequenceClassification", TEXT, batches.text_labels(bbox=batches.boxes)),
    Row(
        "lilt",
        "LiltForSequenceClassification",
        TEXT | {"pad_token_id": 1, "hidden_size": 48},
        batches.text_labels(bbox=batches.boxes),
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
        batches.text_labels(input_shape_ids=batches.same, input_pronunciation_ids=batches.same),
    ),
    Row("eurobert", "EuroBertForSequenceClassification", LLAMA, CLASSES),
    Row("nomic_bert", "NomicBertForMaskedLM", TEXT, MASKED),
    Row("splinter", "SplinterForQuestionAnswering", TEXT, batches.answers()),
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

GPT = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}

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

LATENT = {"kv_lora_rank": 16, "q_lora_rank": 16, "qk_rope_head_dim": 8, "qk_nope_head_dim": 8, "v_head_dim": 8}
DEEPSEEK = TEXT | LATENT | {"n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}

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

MAMBA = IDS | {"hidden_size": 32, "state_size": 8, "num_hidden_layers": 3, "time_step_rank": 4}
HYBRID = LLAMA | {"mamba_n_heads": 4, "mamba_d_head": 16, "mamba_d_state": 8, "mamba_chunk_size": 8}

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
        step=batches.forgetting,
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

T5 = IDS | {"d_model": 32, "d_kv": 8, "d_ff": 64, "num_layers": 2, "num_heads": 4, "decoder_start_token_id": 0}
BART = IDS | {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "max_position_embeddings": 64}
BART |= {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
BART |= {"decoder_start_token_id": 2, "pad_token_id": 1, "bos_token_id": 0, "forced_eos_token_id": None}

SEQ2SEQ = [
    Row("t5", "T5ForConditionalGeneration", T5, COPY),
    Row("t5", "T5ForConditionalGeneration", T5 | {"num_layers": 6}, COPY, "6_layers"),
    Row("mt5", "MT5ForConditionalGeneration", T5, COPY),
    Row("umt5", "UMT5ForConditionalGeneration", T5, COPY),
    Row("longt5", "LongT5ForConditionalGeneration", T5 | {"local_radius": 4}, COPY),
    Row("bart", "BartForConditionalGeneration", BART, COPY),
    Row("bart", "BartForSequenceClassification", BART, batches.text_labels(eos=True), "classify"),
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
        batches.translation(8),
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

VIT = WIDTH | {"image_size": 32, "patch_size": 8, "num_hidden_layers": 4, "num_labels": 4}
SWIN = {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [2, 2], "num_heads": [2, 4], "window_size": 4}
PHOTOS = batches.photos()
FOUR: Config = {"num_labels": 4}

# Sizes at which the last stage still has several positions: attention over a single one has no gradient.
LARGE = batches.photos(side=64)
STAGES: Config = {"hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 2, 1]}
PYRAMID: Config = {"image_size": 64, "mlp_ratios": [2, 2, 2, 2], "num_attention_heads": [1, 2, 4, 8]}

# Left out, because at the library's own initialisation they are not healthy: EfficientNet (with ALIGN, which contains
# it) and MobileViT draw the scales of their batch normalisations from N(0, 0.02), so that the signal dies out;
# SwiftFormer takes a softmax over one element, behind which its weight ``w_g`` never learns; EnCodec passes no gradient
# through its quantiser, so that its encoder gets none. And Reformer, because it reseeds torch at random while training.
VISION = [
    Row("vit", "ViTForImageClassification", VIT, PHOTOS),
    Row("vit", "ViTForImageClassification", VIT | layers(24), PHOTOS, "24_layers"),
    Row("deit", "DeiTForImageClassification", VIT, PHOTOS),
    Row("beit", "BeitForImageClassification", VIT, PHOTOS),
    Row("data2vec_vision", "Data2VecVisionForImageClassification", VIT | layers(12), PHOTOS),
    Row("swin", "SwinForImageClassification", SWIN | FOUR, PHOTOS),
    Row("swinv2", "Swinv2ForImageClassification", SWIN | FOUR, PHOTOS),
    Row("donut_swin", "DonutSwinForImageClassification", SWIN | FOUR, PHOTOS),
    Row("dinov2", "Dinov2ForImageClassification", VIT | {"mlp_ratio": 2}, PHOTOS),
    Row("dinov2_with_registers", "Dinov2WithRegistersForImageClassification", VIT | {"mlp_ratio": 2}, PHOTOS),
    Row("vit_msn", "ViTMSNForImageClassification", VIT, PHOTOS),
    Row("ijepa", "IJepaForImageClassification", VIT, PHOTOS),
    Row(
        "vit_mae",
        "ViTMAEForPreTraining",
        VIT
        | {"decoder_hidden_size": 32, "decoder_num_hidden_layers": 2, "decoder_num_attention_heads": 4}
        | {"decoder_intermediate_size": 64},
        batches.unlabelled(),
    ),
    Row(
        "hiera",
        "HieraForImageClassification",
        FOUR
        | {"embed_dim": 16, "image_size": [32, 32], "patch_size": [3, 3], "patch_stride": [2, 2]}
        | {"patch_padding": [1, 1], "depths": [1, 1, 2], "num_heads": [1, 2, 4], "num_query_pool": 2}
        | {"masked_unit_size": [4, 4], "masked_unit_attention": [True, True, False]},
        PHOTOS,
    ),
    Row("convnext", "ConvNextForImageClassification", FOUR | STAGES, PHOTOS),
    Row("convnextv2", "ConvNextV2ForImageClassification", FOUR | STAGES, PHOTOS),
    Row(
        "resnet",
        "ResNetForImageClassification",
        FOUR | {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [2, 2, 2, 2], "layer_type": "basic"},
        PHOTOS,
    ),
    Row(
        "resnet",
        "ResNetForImageClassification",
        FOUR | {"embedding_size": 16, "hidden_sizes": [16, 32, 48, 64], "depths": [3, 4, 6, 3]},
        PHOTOS,
        "50",
    ),
    Row(
        "regnet",
        "RegNetForImageClassification",
        FOUR | {"embedding_size": 16, "hidden_sizes": [16, 32, 48], "depths": [1, 2, 2], "groups_width": 8},
        PHOTOS,
    ),
    Row(
        "bit",
        "BitForImageClassification",
        FOUR | {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2], "num_groups": 4},
        PHOTOS,
    ),
    Row(  # the library's default dropout of 0.999 is TensorFlow's keep probability, taken for the opposite
        "mobilenet_v1",
        "MobileNetV1ForImageClassification",
        FOUR | {"depth_multiplier": 0.25, "image_size": 32, "classifier_dropout_prob": 0.001},
        PHOTOS,
    ),
    Row(
        "mobilenet_v2", "MobileNetV2ForImageClassification", FOUR | {"depth_multiplier": 0.25, "image_size": 32}, PHOTOS
    ),
    Row("poolformer", "PoolFormerForImageClassification", FOUR | STAGES, LARGE),
    Row(
        "pvt",
        "PvtForImageClassification",
        FOUR | STAGES | PYRAMID | {"sequence_reduction_ratios": [4, 2, 1, 1]},
        LARGE,
    ),
    Row(
        "pvt_v2",
        "PvtV2ForImageClassification",
        FOUR | STAGES | PYRAMID | {"sr_ratios": [4, 2, 1, 1]},
        LARGE,
    ),
    Row(
        "segformer",
        "SegformerForSemanticSegmentation",
        STAGES
        | {"num_labels": 3, "decoder_hidden_size": 32, "num_attention_heads": [1, 2, 4, 8]}
        | {"sr_ratios": [4, 2, 1, 1]},
        batches.maps(side=64),
    ),
    Row(
        "cvt",
        "CvtForImageClassification",
        FOUR | {"embed_dim": [8, 16, 32], "num_heads": [1, 2, 4], "depth": [1, 2, 3]},
        PHOTOS,
    ),
    Row(
        "levit",
        "LevitForImageClassification",
        FOUR
        | {"image_size": 128, "hidden_sizes": [16, 24, 32], "num_attention_heads": [2, 2, 4], "depths": [1, 2, 1]}
        | {"key_dim": [8, 8, 8]},
        batches.photos(side=128),
    ),
    Row(
        "focalnet",
        "FocalNetForImageClassification",
        FOUR
        | {"image_size": 32, "patch_size": 2, "embed_dim": 16, "depths": [1, 2], "hidden_sizes": [16, 32]}
        | {"focal_levels": [2, 2], "focal_windows": [3, 3]},
        PHOTOS,
    ),
    Row(
        "textnet",
        "TextNetForImageClassification",
        FOUR
        | {"stem_out_channels": 8, "hidden_sizes": [8, 16, 16, 24, 24], "image_size": [32, 32]}
        | {"conv_layer_kernel_sizes": [[[3, 3]], [[3, 3]], [[3, 1]], [[1, 3]]]}
        | {"conv_layer_strides": [[1], [2], [2], [2]]},
        PHOTOS,
    ),
    Row("timesformer", "TimesformerForVideoClassification", VIT | {"image_size": 16, "num_frames": 4}, batches.clips()),
    Row(
        "vivit",
        "VivitForVideoClassification",
        VIT | {"image_size": 16, "num_frames": 4, "tubelet_size": [2, 8, 8]},
        batches.clips(),
    ),
    Row("videomae", "VideoMAEForVideoClassification", VIT | {"image_size": 16, "num_frames": 4}, batches.clips()),
    Row(
        "yolos",
        "YolosForObjectDetection",
        VIT | {"image_size": [32, 32], "num_detection_tokens": 6},
        batches.objects(),
    ),
    Row(
        "dpt",
        "DPTForSemanticSegmentation",
        VIT
        | {"num_labels": 3, "backbone_out_indices": [0, 1, 2, 3], "neck_hidden_sizes": [8, 16, 24, 32]}
        | {"fusion_hidden_size": 16},
        batches.maps(),
    ),
]

CONVS = {"conv_dim": [16, 16, 16], "conv_stride": [5, 2, 2], "conv_kernel": [10, 3, 2]}
WAV = WIDTH | CONVS | {"vocab_size": 16, "num_hidden_layers": 3, "mask_time_length": 2}
WAV |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "classifier_proj_size": 16}
WHISPER = BART | {"num_mel_bins": 16, "max_source_positions": 16, "max_target_positions": 32}
SPEECH, SOUND = batches.speech(), batches.sound()

AUDIO = [
    Row("wav2vec2", "Wav2Vec2ForCTC", WAV, SPEECH, step=batches.augmented),
    Row("wav2vec2", "Wav2Vec2ForSequenceClassification", WAV | FOUR, SOUND, "classify", step=batches.augmented),
    Row("hubert", "HubertForCTC", WAV, SPEECH, step=batches.augmented),
    Row("wavlm", "WavLMForCTC", WAV | {"num_buckets": 32, "max_bucket_distance": 64}, SPEECH, step=batches.augmented),
    Row("sew", "SEWForCTC", WAV, SPEECH, step=batches.augmented),
    Row(
        "sew_d",
        "SEWDForCTC",
        WAV | {"position_buckets": 16, "max_position_embeddings": 64},
        SPEECH,
        step=batches.augmented,
    ),
    Row("unispeech", "UniSpeechForCTC", WAV, SPEECH, step=batches.augmented),
    Row("unispeech_sat", "UniSpeechSatForCTC", WAV, SPEECH, step=batches.augmented),
    Row(
        "data2vec_audio",
        "Data2VecAudioForCTC",
        WAV | {"conv_pos_kernel_size": 5, "num_conv_pos_embeddings": 2},
        SPEECH,
        step=batches.augmented,
    ),
    Row(
        "wav2vec2_conformer",
        "Wav2Vec2ConformerForCTC",
        WAV | {"conv_depthwise_kernel_size": 5, "max_source_positions": 64},
        SPEECH,
        step=batches.augmented,
    ),
    Row(
        "whisper", "WhisperForConditionalGeneration", WHISPER, batches.spectrogram("input_features", 32, 16, last=False)
    ),
    Row(
        "speech_to_text",
        "Speech2TextForConditionalGeneration",
        BART
        | {"input_feat_per_channel": 16, "conv_channels": 32, "max_source_positions": 64, "max_target_positions": 32},
        batches.spectrogram("input_features", 32, 16, last=True),
    ),
    Row(
        "audio_spectrogram_transformer",
        "ASTForAudioClassification",
        VIT | {"max_length": 32, "num_mel_bins": 16, "patch_size": 8, "frequency_stride": 8, "time_stride": 8},
        batches.spectrogram("input_values", 32, 16, last=True, transcript=False),
    ),
    Row(
        "moonshine",
        "MoonshineForConditionalGeneration",
        TEXT
        | {"encoder_num_hidden_layers": 2, "decoder_num_hidden_layers": 2, "decoder_start_token_id": 1}
        | {"encoder_num_attention_heads": 4, "decoder_num_attention_heads": 4},
        batches.speech(2000),
    ),
    Row(
        "dac",
        "DacModel",
        {"encoder_hidden_size": 8, "downsampling_ratios": [2, 4], "decoder_hidden_size": 32, "n_codebooks": 2}
        | {"codebook_size": 16, "codebook_dim": 4},
        batches.raw(),
        step=batches.coded,
    ),
]

TOWER = TEXT | layers(2)
EYES = WIDTH | {"image_size": 32, "patch_size": 8, "num_hidden_layers": 2}
PAIRS = batches.pairs(return_loss=True)

MULTIMODAL = [
    Row(
        "clip",
        "CLIPModel",
        {"text_config": TOWER | {"eos_token_id": 63}, "vision_config": EYES, "projection_dim": 16},
        PAIRS,
    ),
    Row("siglip", "SiglipModel", {"text_config": TOWER | {"projection_size": 32}, "vision_config": EYES}, PAIRS),
    Row("chinese_clip", "ChineseCLIPModel", {"text_config": TOWER, "vision_config": EYES, "projection_dim": 16}, PAIRS),
    Row(
        "altclip",
        "AltCLIPModel",
        {"text_config": TOWER | {"project_dim": 32, "pad_token_id": 1}, "vision_config": EYES, "projection_dim": 16},
        PAIRS,
    ),
    Row(
        "groupvit",
        "GroupViTModel",
        {
            "text_config": TOWER | {"eos_token_id": 63},
            "vision_config": EYES
            | {"depths": [1, 1, 1], "num_group_tokens": [8, 4, 0], "num_output_groups": [8, 4, 0]},
            "projection_dim": 16,
            "projection_intermediate_dim": 32,
        },
        PAIRS,
    ),
    Row(
        "blip",
        "BlipForConditionalGeneration",
        {"text_config": TOWER | {"encoder_hidden_size": 32}, "vision_config": EYES, "projection_dim": 16},
        batches.captions(),
    ),
    Row("git", "GitForCausalLM", TEXT | {"vision_config": EYES}, batches.captions()),
    Row("vilt", "ViltForQuestionAnswering", TEXT | EYES | FOUR, batches.questions()),
    Row(
        "llava",
        "LlavaForConditionalGeneration",
        {
            "text_config": Sub("LlamaConfig", LLAMA),
            "vision_config": Sub("CLIPVisionConfig", EYES),
            "image_token_index": 2,
            "vision_feature_layer": -1,
            "image_seq_length": 16,
        },
        batches.captions(image_tokens=16),
    ),
    Row(
        "flava",
        "FlavaForPreTraining",
        {
            "text_config": TOWER,
            "image_config": EYES | {"vocab_size": 16},
            "multimodal_config": WIDTH | layers(2),
            "image_codebook_config": {"hidden_size": 8, "num_groups": 4, "vocab_size": 16, "num_blocks_per_group": 1},
            "hidden_size": 32,
            "projection_dim": 16,
        },
        batches.flava(),
    ),
    Row(
        "clipseg",
        "CLIPSegForImageSegmentation",
        {
            "text_config": TOWER | {"eos_token_id": 63},
            "vision_config": EYES,
            "projection_dim": 16,
            "reduce_dim": 16,
            "extract_layers": [0, 1],
            "decoder_num_attention_heads": 2,
            "decoder_intermediate_size": 32,
        },
        batches.phrases(),
    ),
    Row(
        "visual_bert",
        "VisualBertForQuestionAnswering",
        TEXT | FOUR | {"visual_embedding_dim": 16},
        batches.regions(),
    ),
    Row(
        "vision_encoder_decoder",
        "VisionEncoderDecoderModel",
        {
            "encoder": VIT | {"model_type": "vit"},
            "decoder": IDS | GPT | {"model_type": "gpt2", "is_decoder": True, "add_cross_attention": True},
            "decoder_start_token_id": 1,
            "pad_token_id": 0,
        },
        batches.described(),
    ),
]

TROCR = {"d_model": 32, "decoder_layers": 2, "decoder_attention_heads": 4, "decoder_ffn_dim": 64}
MULTIMODAL.append(
    Row(
        "trocr",
        "VisionEncoderDecoderModel",
        {
            "encoder": VIT | {"model_type": "deit"},
            "decoder": IDS
            | TROCR
            | {"model_type": "trocr", "is_decoder": True, "add_cross_attention": True}
            | {"cross_attention_hidden_size": 32},
            "decoder_start_token_id": 2,
            "pad_token_id": 1,
        },
        batches.described(),
    )
)

CLOCK = {"prediction_length": 8, "context_length": 16, "lags_sequence": [1, 2, 4, 8], "num_time_features": 1}
CLOCK |= {"d_model": 16, "encoder_layers": 2, "decoder_layers": 2, "encoder_ffn_dim": 32, "decoder_ffn_dim": 32}
PATCH = {"context_length": 32, "prediction_length": 8, "patch_length": 8, "num_input_channels": 2, "d_model": 16}
TIMES = batches.series(16)

SERIES = [
    Row("time_series_transformer", "TimeSeriesTransformerForPrediction", CLOCK, TIMES),
    Row("informer", "InformerForPrediction", CLOCK, TIMES),
    Row("autoformer", "AutoformerForPrediction", CLOCK, TIMES),
    Row(
        "patchtst",
        "PatchTSTForPrediction",
        PATCH | {"patch_stride": 8, "num_hidden_layers": 3, "num_attention_heads": 4, "ffn_dim": 32},
        batches.patches(32),
    ),
    Row("patchtsmixer", "PatchTSMixerForPrediction", PATCH | {"patch_stride": 8, "num_layers": 3}, batches.patches(32)),
    Row(
        "decision_transformer",
        "DecisionTransformerModel",
        {"state_dim": 6, "act_dim": 3, "hidden_size": 32, "n_layer": 3, "n_head": 4, "max_ep_len": 32},
        batches.episodes(),
        step=batches.imitate,
    ),
]

TABLES = (ENCODERS, DECODERS, EXPERTS, RECURRENT, SEQ2SEQ, VISION, AUDIO, MULTIMODAL, SERIES)


def cases() -> list[Case]:
    """All lines of all tables."""
    return [case(row) for table in TABLES for row in table]
