"""What plans are made of: machines, the shapes of models, and what a step of each costs them.

All formulas count multiplications and bytes; attention's own share (under a tenth at these lengths) is left out.

    training       6 FLOP a weight and token, 8 with recomputation of activations; 2 a forward pass
    time           FLOP / (peak x `mfu`), on the CPU x width / (width + 128): small matrices reach less
    decoding       a step for b sequences reads all weights once and b caches: the larger of
                   bytes / (bandwidth x `reach`) and 2 x weights x b / (peak x `mfu`), and `floor_s` at least
    training state 16 bytes a weight over all GPUs: weights, gradients and both moments of Adam in fp32
    activations    of one sequence of the longest kind: 2 bytes x width a layer and token (inputs of layers, the rest is
                   computed again) + 34 bytes x width a token (one layer) + 6 bytes x vocabulary a token (logits)
    KV cache       2 x layers x KV heads x head x 2 bytes a token
"""

from typing import NamedTuple

from adjudge.errors import ConfigError

GB = 1e9
STATE_BYTES = 16  # fp32 weights, gradients, two moments
SPARE = 0.9  # share of a GPU's memory that a server may use


class Machine(NamedTuple):
    """One accelerator. `tflops`: peak, dense, bf16 (fp32 on the CPU); `bandwidth_gbs`: of its memory, GB/s."""

    name: str
    tflops: float
    memory_gb: float
    bandwidth_gbs: float
    weight_bytes: int = 2  # a weight as it is computed with
    floor_s: float = 0.004  # of a decoding step
    half_width: int = 0  # of a model that reaches half of what a wide one does


MACHINES = {
    m.name: m
    for m in (
        Machine("a100", 312, 80, 2039),
        Machine("h100", 989, 80, 3350),
        Machine("h200", 989, 141, 4800),
        Machine("cpu", 0.2, 16, 20, weight_bytes=4, floor_s=0.01, half_width=128),  # two cores
    )
}


class Shape(NamedTuple):
    """A model. `weights`: all of them, in billions; `active`: those a token meets; `stored_gb`: where not bf16."""

    weights: float
    layers: int
    width: int
    kv_heads: int
    head: int
    vocabulary: int
    active: float = 0.0
    stored_gb: float = 0.0

    @property
    def used(self) -> float:
        """Weights that a token meets."""
        return (self.active or self.weights) * 1e9

    def bytes(self, machine: Machine) -> float:
        return self.stored_gb * GB if self.stored_gb else self.weights * 1e9 * machine.weight_bytes

    def cache_bytes(self, machine: Machine) -> float:
        """Of the KV cache, a token."""
        return 2.0 * self.layers * self.kv_heads * self.head * machine.weight_bytes


SHAPES = {  # from the models' published configurations
    "Qwen/Qwen3-1.7B": Shape(1.72, 28, 2048, 8, 128, 151_936),
    "Qwen/Qwen3-4B": Shape(4.02, 36, 2560, 8, 128, 151_936),
    "Qwen/Qwen3-8B": Shape(8.19, 36, 4096, 8, 128, 151_936),
    "Qwen/Qwen3-14B": Shape(14.77, 40, 5120, 8, 128, 151_936),
    "Qwen/Qwen3-4B-Instruct-2507": Shape(4.02, 36, 2560, 8, 128, 151_936),
    "Qwen/Qwen2.5-7B-Instruct": Shape(7.62, 28, 3584, 4, 128, 152_064),
    "meta-llama/Llama-3.1-8B-Instruct": Shape(8.03, 32, 4096, 8, 128, 128_256),
    "openai/gpt-oss-120b": Shape(116.8, 36, 2880, 8, 64, 201_088, active=5.1, stored_gb=65),
    "smollm2": Shape(0.1345, 30, 576, 3, 64, 49_152),
}


def shape(model: str) -> Shape:
    """Raises ConfigError for a model whose shape is not known."""
    if model not in SHAPES:
        raise ConfigError(f"no shape is known of model {model!r}; known: {', '.join(SHAPES)}")
    return SHAPES[model]


def own_shape(width: int, layers: int, heads: int, vocabulary: int) -> Shape:
    """The lab's own Llamas: MLP three widths wide, embeddings tied (models.py)."""
    weights = layers * (4 * width**2 + 9 * width**2) + vocabulary * width
    return Shape(weights / 1e9, layers, width, heads, width // heads, vocabulary)


class Rates(NamedTuple):
    """What the hardware reaches of its peaks. The defaults are common figures for FSDP training with packed sequences
    and for batched decoding; neither was fitted to what the paper reports."""

    mfu: float = 0.35
    reach: float = 0.6


def compute_s(model: Shape, tokens: float, passes: float, machine: Machine, gpus: int, rates: Rates) -> float:
    """Seconds to compute `tokens`; `passes`: FLOP a weight and token."""
    reached = rates.mfu * model.width / (model.width + machine.half_width)
    return passes * model.used * tokens / (machine.tflops * 1e12 * reached * gpus)


def step_s(model: Shape, sequences: float, context: float, machine: Machine, rates: Rates) -> float:
    """Seconds of one decoding step for so many sequences with so many tokens behind them, on one GPU (or share)."""
    read = (model.bytes(machine) + sequences * context * model.cache_bytes(machine)) / (
        machine.bandwidth_gbs * GB * rates.reach
    )
    counted = 2 * model.used * sequences / (machine.tflops * 1e12 * rates.mfu)
    return max(read, counted, machine.floor_s)


def parts_of(model: Shape, machine: Machine) -> int:
    """GPUs that one copy of a served model is spread over: a power of two, weights at most half of their memory."""
    parts = 1
    while model.bytes(machine) / parts > 0.5 * SPARE * machine.memory_gb * GB:
        parts *= 2
    return parts


class Serving(NamedTuple):
    """`seconds` for all; `at_once`: sequences on one copy; `parts`: GPUs of a copy; `memory_gb` of a GPU: weights, and
    the caches of those at once."""

    seconds: float
    at_once: int
    parts: int
    memory_gb: float


def serve(
    model: Shape, calls: float, prompt: float, written: float, longest: float, machine: Machine, gpus: int, rates: Rates
) -> Serving:
    """Generate `calls` replies of `written` tokens on average and `longest` at most, to prompts of `prompt` tokens.

    Prompts are computed, then all but the stragglers decode together, then the last runs on alone to the longest.
    """
    parts = min(parts_of(model, machine), gpus)
    copies = max(1, gpus // parts)
    room = SPARE * machine.memory_gb * GB * parts - model.bytes(machine)
    held = (prompt + written) * model.cache_bytes(machine)
    at_once = max(1, min(int(room / held), round(calls / copies) or 1, MOST_AT_ONCE))
    whole = machine._replace(
        tflops=machine.tflops * parts, bandwidth_gbs=machine.bandwidth_gbs * parts, memory_gb=machine.memory_gb * parts
    )
    reading = compute_s(model, calls * prompt, 2, machine, copies * parts, rates)
    one = step_s(model, at_once, prompt + written / 2, whole, rates)
    together = calls / copies / at_once * written * one
    alone = max(0.0, longest - written) * step_s(model, 1, prompt + longest, whole, rates)
    return Serving(reading + together + alone, at_once, parts, (model.bytes(machine) + at_once * held) / parts / GB)


MOST_AT_ONCE = 512  # sequences that a server decodes together


def training_gb(model: Shape, longest: float, machine: Machine, gpus: int, *, recomputed: bool) -> float:
    """Memory of one of `gpus` that share the training state, with one sequence of the longest kind."""
    state = STATE_BYTES * model.weights * 1e9 / gpus
    gathered = 2 * machine.weight_bytes * model.weights * 1e9 / model.layers if gpus > 1 else 0.0
    of_layer = 34.0 * model.width
    kept = 2.0 * model.width * model.layers if recomputed else of_layer * model.layers
    return (state + gathered + longest * (kept + of_layer + 6.0 * model.vocabulary)) / GB
