"""Tiny random models of real architectures, with tokenizers of their own, for tests to run."""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    AlbertConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BartConfig,
    BertConfig,
    BigBirdConfig,
    BloomConfig,
    CodeGenConfig,
    DebertaConfig,
    DebertaV2Config,
    DistilBertConfig,
    ElectraConfig,
    FalconConfig,
    Gemma2Config,
    GPT2Config,
    GPTJConfig,
    GPTNeoConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MambaConfig,
    MistralConfig,
    MobileBertConfig,
    ModernBertConfig,
    MPNetConfig,
    OPTConfig,
    PhiConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
    RobertaConfig,
    T5Config,
    XLNetConfig,
)
from transformers.utils import logging

from descry.models.checkpoints import contents_sha256

CHAT = (
    "{{ bos_token }}"
    "{% for message in messages %}<|user|>{{ message['content'] }}</s>{% endfor %}<|bot|>"
)
LIMIT = 512  # tokens that every one of them takes
WINDOW = 48  # tokens that a layer with a sliding window looks back
SPECIAL = ["<pad>", "</s>", "<unk>", "<s>", "<|user|>", "<|bot|>"]
_TEXT = """Q: Does the Review: " is about talk "? Answer in Yes/No A: Yes No Identify at most
salient topics being discussed sentence Sentence: Price Battery battery price great small cheap and
it works love this"""
WORDS = _TEXT.split()
STEP = 0.35  # standard deviation of the weights: enough for answers that depend on the prompt
LOUD = 3.0  # how much more the words below move

_LLAMA = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": LIMIT,
}
_GROUPED = _LLAMA | {"num_key_value_heads": 2}
_T5 = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward_proj": "gated-gelu",  # FLAN-T5's
    "tie_word_embeddings": False,
    "decoder_start_token_id": 0,
}
_BART = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": LIMIT,
    "decoder_start_token_id": 1,
    "forced_eos_token_id": 1,
}
_SHORT = {"n_layer": 2, "n_head": 4}
_CONFIGS = {
    "t5": (T5Config, _T5),
    "bart": (BartConfig, _BART),
    "gpt_neox": (GPTNeoXConfig, _LLAMA),  # Pythia
    "llama": (LlamaConfig, _GROUPED),
    "qwen2": (Qwen2Config, _GROUPED),
    "gpt2": (GPT2Config, _SHORT | {"n_embd": 32, "n_positions": LIMIT}),
    "mistral": (MistralConfig, _GROUPED | {"sliding_window": WINDOW}),
    "gemma2": (Gemma2Config, _GROUPED | {"head_dim": 8, "sliding_window": WINDOW}),
    "bloom": (BloomConfig, _SHORT | {"hidden_size": 32}),
    "falcon": (FalconConfig, _LLAMA | {"alibi": True, "new_decoder_architecture": False}),
    "mamba": (MambaConfig, {"hidden_size": 32, "num_hidden_layers": 2, "state_size": 4}),
}
SEQ2SEQ = ["t5", "bart"]
CAUSAL = [name for name in _CONFIGS if name not in SEQ2SEQ]

# What answers no prompt here, but has neurons. Encoders come with the head of some training.
_BERT = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": LIMIT,
}
ROBERTA_SPECIAL = ["<s>", "<pad>", "</s>", "<unk>"]  # positions start after the padding, at 2
_ROBERTA = _BERT | {"max_position_embeddings": LIMIT + 2}
_DEBERTA = _BERT | {
    "relative_attention": True,
    "position_biased_input": False,
    "pos_att_type": ["c2p", "p2c"],
}
_ENCODERS = {
    "bert": (BertConfig, _BERT, AutoModelForMaskedLM),
    "roberta": (RobertaConfig, _ROBERTA, AutoModelForSequenceClassification),
    "distilbert": (
        DistilBertConfig,
        {"dim": 32, "hidden_dim": 48, "n_layers": 3, "n_heads": 4},
        AutoModelForSequenceClassification,
    ),
    "albert": (AlbertConfig, _BERT | {"embedding_size": 16}, AutoModelForMaskedLM),  # one group
    "albert_groups": (
        AlbertConfig,
        _BERT | {"num_hidden_layers": 4, "num_hidden_groups": 2, "inner_group_num": 2},
        AutoModelForSequenceClassification,
    ),
    "electra": (
        ElectraConfig,
        _BERT | {"embedding_size": 16},
        AutoModelForSequenceClassification,
    ),
    "deberta": (DebertaConfig, _DEBERTA, AutoModelForSequenceClassification),
    "deberta_v2": (DebertaV2Config, _DEBERTA | {"conv_kernel_size": 3}, AutoModelForMaskedLM),
    "mpnet": (MPNetConfig, _ROBERTA, AutoModelForMaskedLM),
    "modernbert": (
        ModernBertConfig,
        _BERT | {"local_attention": WINDOW // 4},
        AutoModelForMaskedLM,
    ),
    "mobilebert": (
        MobileBertConfig,
        _BERT
        | {
            "embedding_size": 16,
            "intra_bottleneck_size": 16,
            "num_feedforward_networks": 2,
            "normalization_type": "layer_norm",
        },
        AutoModelForMaskedLM,
    ),
    "big_bird": (BigBirdConfig, _BERT, AutoModelForMaskedLM),
}
_DECODERS = {
    "gpt_neo": (
        GPTNeoConfig,
        {
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "attention_types": [[["global", "local"], 1]],
            "window_size": WINDOW,
            "max_position_embeddings": LIMIT,
        },
    ),
    "gptj": (GPTJConfig, _SHORT | {"n_embd": 32, "n_positions": LIMIT, "rotary_dim": 4}),
    "codegen": (CodeGenConfig, _SHORT | {"n_embd": 32, "n_positions": LIMIT, "rotary_dim": 4}),
    "opt": (
        OPTConfig,
        {
            "hidden_size": 32,
            "ffn_dim": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "max_position_embeddings": LIMIT,
            "word_embed_proj_dim": 16,
        },
    ),
    "phi": (PhiConfig, _LLAMA),
    "xlnet": (XLNetConfig, {"d_model": 32, "d_inner": 64, "n_layer": 2, "n_head": 4}),
}
ENCODERS = list(_ENCODERS)
DECODERS = [*CAUSAL, *_DECODERS]
ALONE = ["bloom", "falcon", "mamba"]  # prompts cannot share their beginning: no positions
SHARING = [name for name in CAUSAL if name not in ALONE]


def make(name: str, folder: Path, chat: bool | str = False, words: list[str] = WORDS) -> Path:
    """Write a model and its tokenizer into a folder: the same bytes every time.

    Args:
        name: one of SEQ2SEQ, DECODERS or ENCODERS.
        chat: with a chat template: CHAT, or the one given.
        words: what the tokenizer has as one token each.
    """
    logging.disable_progress_bar()
    tokenizer = _tokenizer(name, words)
    if chat:
        tokenizer.chat_template = chat if isinstance(chat, str) else CHAT
    tokenizer.save_pretrained(folder)
    kind, sizes, auto = _family(name)
    config = kind(**_ids(tokenizer) | sizes)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = auto.from_config(config, dtype=torch.float32)
        step = STEP * 0.7 if name == "t5" else STEP  # its attention does not scale down
        with torch.no_grad():
            for weights in model.parameters():
                if weights.dim() > 1:
                    weights.normal_(std=step)
            if name in _CONFIGS:
                # Yes, No and the end are often the likeliest word, and often the least likely.
                loud = tokenizer.convert_tokens_to_ids(SPECIAL[1:2])
                for word in ("Yes", "No", " Yes", " No"):
                    loud += tokenizer(word, add_special_tokens=False)["input_ids"][-1:]
                model.get_output_embeddings().weight[sorted(set(loud))] *= LOUD
    if name == "bart":
        model.generation_config.forced_bos_token_id = 3
    model.save_pretrained(folder)
    return folder


def make_silent(folder: Path, silent: int) -> Path:
    """An OPT whose first so many neurons of every feed-forward layer are below 0, and so 0."""
    make("opt", folder, words=WORDS)
    weights = load_file(folder / "model.safetensors")
    for name, values in weights.items():
        if name.endswith("fc1.bias"):
            values[:silent] = -1e4
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _family(name: str) -> tuple[type, dict, type]:
    """Its configuration's class, its sizes, and the class of its checkpoints."""
    if name in _ENCODERS:
        return _ENCODERS[name]
    auto = AutoModelForSeq2SeqLM if name in SEQ2SEQ else AutoModelForCausalLM
    return *(_CONFIGS | _DECODERS)[name], auto


def _ids(tokenizer: PreTrainedTokenizerFast) -> dict[str, int]:
    """What a configuration says of its tokenizer."""
    named = ("pad", "eos", "bos", "cls", "sep")
    ids = {f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in named}
    return {"vocab_size": len(tokenizer)} | {key: i for key, i in ids.items() if i is not None}


def _tokenizer(name: str, words: list[str]) -> PreTrainedTokenizerFast:
    if name in _ENCODERS:
        return word_pieces(words, name)
    return sentencepiece(words) if name == "t5" else byte_pairs(words, name)


def spec(folder: Path, **changes: object) -> dict:
    """What params.yaml would say of such a model."""
    told = {"kind": "transformers", "model": str(folder), "revision": contents_sha256(folder)}
    told |= {"dtype": "float32", "device": "cpu"}
    return told | {"max_tokens": 256, "max_new_tokens": 8, "batch_tokens": 4096} | changes


def byte_pairs(words: list[str] = WORDS, name: str = "gpt2") -> PreTrainedTokenizerFast:
    """Byte-level pairs, as GPT-2's: words with and without a space before them are one token."""
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([*words, *(" " + word for word in words)] * 2, trainer)
    if name in ("llama", "mistral", "gemma2"):
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", SPECIAL.index("<s>"))]
        )
    if name == "bart":
        made.post_processor = processors.TemplateProcessing(
            single="<s> $A </s>", special_tokens=[(s, SPECIAL.index(s)) for s in ("<s>", "</s>")]
        )
    return _wrapped(made)


def sentencepiece(words: list[str] = WORDS) -> PreTrainedTokenizerFast:
    """Pieces as T5's, where a space belongs to the word behind it; other letters are unknown."""
    letters = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz0123456789"))
    pieces = [(piece, 0.0) for piece in SPECIAL] + [("▁", -4.0)]
    pieces += [(letter, -6.0) for letter in letters]
    pieces += [(f"▁{word}", -3.0) for word in dict.fromkeys(words)]
    made = Tokenizer(models.Unigram(pieces, unk_id=SPECIAL.index("<unk>"), byte_fallback=False))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", SPECIAL.index("</s>"))]
    )
    return _wrapped(made)


def word_pieces(words: list[str] = WORDS, name: str = "bert") -> PreTrainedTokenizerFast:
    """Word pieces as BERT's: a text has a token at its start and one at its end."""
    letters = sorted(set("".join(words)) | set("abcdefghijklmnopqrstuvwxyz"))
    special = [*ROBERTA_SPECIAL, *SPECIAL[4:]] if name in ("roberta", "mpnet") else SPECIAL
    pieces = dict.fromkeys([*special, *words, *letters, *("##" + letter for letter in letters)])
    ids = {piece: i for i, piece in enumerate(pieces)}
    made = Tokenizer(models.WordPiece(ids, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.decoder = decoders.WordPiece()
    made.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[(s, ids[s]) for s in ("<s>", "</s>")]
    )
    return _wrapped(made, cls_token="<s>", sep_token="</s>", mask_token="<|bot|>")


def _wrapped(tokenizer: Tokenizer, **more: str) -> PreTrainedTokenizerFast:
    named = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>", "bos_token": "<s>"}
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        additional_special_tokens=SPECIAL[4:],
        model_max_length=LIMIT,
        **named | more,
    )


def make_gguf(folder: Path, file: Path, *, split: str = "gpt-2", quantized: bool = False) -> Path:
    """Write the llama of a folder as llama.cpp's scripts would: in float32, or in Q8_0.

    Args:
        split: how its tokenizer says that it splits texts.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    config = model.config
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    told = json.loads(tokenizer.backend_tokenizer.to_str())["model"]
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_token_types([control if token in SPECIAL else normal for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in told["merges"]])
    for add, token in {
        writer.add_bos_token_id: "<s>",
        writer.add_eos_token_id: "</s>",
        writer.add_unk_token_id: "<unk>",
        writer.add_pad_token_id: "<pad>",
    }.items():
        add(SPECIAL.index(token))
    writer.add_add_bos_token(True)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, values in model.state_dict().items():
        array = values.float().numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
        for part, number in heads.items():
            if part in name:  # llama.cpp turns neighbours, transformers halves
                halves = array.reshape(number, 2, -1, array.shape[-1])
                array = halves.swapaxes(1, 2).reshape(array.shape)
        kind = gguf.GGMLQuantizationType.Q8_0 if quantized and array.ndim > 1 else None
        array = np.ascontiguousarray(array)
        writer.add_tensor(
            names.get_name(name, (".weight", ".bias")),
            array if kind is None else gguf.quantize(array, kind),
            raw_dtype=kind,
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file
