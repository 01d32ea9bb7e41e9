"""A small judge as a GGUF file, which llama.cpp (the embedded backend) runs without torch.

Weights are kept in half precision. llama.cpp turns queries and keys by pairs that stand side by side where transformers
turns halves, so their rows change places. The chat template passes messages through as they are.
"""

import json
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM

from adjudge.errors import ConfigError

PASS_THROUGH = "{% for message in messages %}{{ message['content'] }}{% endfor %}"  # noqa: S105  # no password


def export_gguf(folder: Path, path: Path, name: str) -> int:
    """Write the model of a folder as one GGUF file, whole or not at all; its size in bytes.

    Raises ConfigError for a folder without a model, another architecture, or a file that cannot be written.
    """
    try:
        model = AutoModelForCausalLM.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder}: holds no model: {str(error).splitlines()[0]}") from None
    if not isinstance(model, LlamaForCausalLM):
        raise ConfigError(f"{folder}: only the lab's own Llama models are exported; convert others with llama.cpp")
    part = path.with_name(path.name + ".part")
    try:
        _write(model, folder, part, name)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written: {error.strerror}; give another --out") from None
    finally:
        part.unlink(missing_ok=True)
    return path.stat().st_size


def _write(model: LlamaForCausalLM, folder: Path, path: Path, name: str) -> None:
    config = model.config
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(name)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_vocab_size(config.vocab_size)
    _add_tokenizer(writer, folder)
    _add_tensors(writer, model)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, folder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    raw = json.loads((folder / "tokenizer.json").read_text())
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    types = [gguf.TokenType.CONTROL if k in special else gguf.TokenType.NORMAL for k in range(len(tokens))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in raw["model"]["merges"]])
    writer.add_eos_token_id(tokenizer.eos_token_id)
    writer.add_bos_token_id(tokenizer.eos_token_id)
    writer.add_pad_token_id(tokenizer.pad_token_id)
    writer.add_add_bos_token(False)
    writer.add_chat_template(PASS_THROUGH)


def _add_tensors(writer: gguf.GGUFWriter, model: LlamaForCausalLM) -> None:
    config = model.config
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and config.tie_word_embeddings:
            continue
        stem, suffix = name.rsplit(".", 1)
        value: np.ndarray = tensor.to(torch.float32).numpy()
        if (part := stem.rsplit(".", 1)[-1]) in heads:
            value = _paired(value, heads[part])
        known = names.get_name(stem)
        if known is None:
            raise ConfigError(f"tensor {name} has no place in a GGUF file")
        writer.add_tensor(f"{known}.{suffix}", value.astype(np.float16 if value.ndim > 1 else np.float32))


def _paired(rows: np.ndarray, heads: int) -> np.ndarray:
    """Rows of each head, first half and second half interleaved."""
    size = rows.shape[0] // heads // 2
    return rows.reshape(heads, 2, size, -1).swapaxes(1, 2).reshape(rows.shape)
