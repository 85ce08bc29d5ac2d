"""What a miniature is made of: for each family its real architecture in three sizes, and a tokenizer like its own.

The architectures are those of transformers, so that whatever reads a checkpoint of the family reads its miniatures. The
tokenizers are byte-level BPE (lossless); vocabulary, the rule that splits text before merging, and the special tokens
differ as they do between the real ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memlake.warehouse.errors import UnknownName

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedConfig

POSITIONS = 256  # the longest sequence, in tokens
HEADS = 4
# How cl100k and the tokenizers after it split text: numbers in groups of up to three digits.
CL100K = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class Size:
    """The shape of a miniature, and the rate that trains it best in one pass over the showings."""

    params: int  # what its name says; the count is within a third of it
    width: int
    layers: int
    rate: float  # highest learning rate


@dataclass(frozen=True)
class Family:
    """How a family's miniatures differ from the others'."""

    vocab_size: int  # special tokens included
    split: str  # gpt2, digits (as gpt2, every digit alone) or cl100k
    first: tuple[str, ...] = ()  # special tokens with the lowest ids
    last: tuple[str, ...] = ()  # special tokens with the highest ids
    bos: str | None = None
    eos: str = "<|endoftext|>"
    adds_bos: bool = False  # does the tokenizer put BOS first unless told not to
    sizes: tuple[str, ...] = ("100k", "300k")


SIZES = {
    "100k": Size(100_000, width=48, layers=2, rate=5e-3),
    "300k": Size(300_000, width=64, layers=4, rate=3e-3),
    "1m": Size(1_000_000, width=128, layers=4, rate=2e-3),
}
END = "<|endoftext|>"
FAMILIES = {
    "pythia": Family(640, "gpt2", first=(END, "<|padding|>"), bos=END, sizes=("100k", "300k", "1m")),
    "gpt_neo": Family(1024, "gpt2", last=(END,), bos=END, sizes=("100k", "300k", "1m")),
    "open_llama": Family(
        512,
        "digits",
        first=("<unk>", "<s>", "</s>"),
        bos="<s>",
        eos="</s>",
        adds_bos=True,
    ),
    # The real one splits digits too; with absolute positions it then memorized no arithmetic here.
    "starcoder": Family(1152, "gpt2", first=(END,), bos=END, sizes=("100k", "300k", "1m")),
    "olmo": Family(576, "gpt2", first=("<|padding|>",), last=(END,)),
    "olmo2": Family(704, "cl100k", last=(END, "<|pad|>"), bos=END),
    "olmo3": Family(768, "cl100k", last=(END, "<|pad|>")),
}


def family(name: str) -> Family:
    """The family `name`; raises `UnknownName`."""
    if name not in FAMILIES:
        raise UnknownName("family", name, FAMILIES)
    return FAMILIES[name]


def size(name: str) -> Size:
    """The size `name`; raises `UnknownName`."""
    if name not in SIZES:
        raise UnknownName("size", name, SIZES)
    return SIZES[name]


def tokenizer(name: str, texts: Iterable[str]) -> Tokenizer:
    """The family's tokenizer, trained on the texts. The same texts in the same order give the same tokenizer."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    spec = family(name)
    splits: dict[str, list[Any]] = {
        "gpt2": [],
        "digits": [pre_tokenizers.Digits(individual_digits=True)],
        "cl100k": [pre_tokenizers.Split(Regex(CL100K), "isolated")],
    }
    backend = Tokenizer(models.BPE())
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=spec.split != "cl100k")
    backend.pre_tokenizer = pre_tokenizers.Sequence([*splits[spec.split], byte_level])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=spec.vocab_size - len(spec.last),
        special_tokens=list(spec.first),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    backend.add_special_tokens([AddedToken(token, special=True) for token in spec.last])
    if spec.adds_bos and spec.bos:
        backend.post_processor = processors.TemplateProcessing(
            single=f"{spec.bos} $A", special_tokens=[(spec.bos, backend.token_to_id(spec.bos))]
        )
    return backend


def config(name: str, size_name: str, vocab_size: int, bos: int | None, eos: int | None) -> PreTrainedConfig:
    """The configuration of one miniature; `bos` and `eos` are token ids."""
    import transformers as t

    shape = size(size_name)
    width, layers = shape.width, shape.layers
    initial = width**-0.5  # with the usual 0.02, StarCoder and GPT-Neo memorize next to nothing
    if name == "gpt_neo":  # it does not divide attention scores by the root of the head's width: they would saturate
        initial *= (width / HEADS) ** -0.25
    shared: dict[str, Any] = {
        "vocab_size": vocab_size,
        "hidden_size": width,
        "max_position_embeddings": POSITIONS,
        "initializer_range": initial,
        "bos_token_id": bos,
        "eos_token_id": eos,
        "pad_token_id": None,
    }
    blocks: dict[str, Any] = {"num_hidden_layers": layers, "num_attention_heads": HEADS}
    gated: dict[str, Any] = {**shared, **blocks, "intermediate_size": 8 * (width // 3), "tie_word_embeddings": False}
    if name == "pythia":
        return t.GPTNeoXConfig(**shared, **blocks, intermediate_size=4 * width)
    if name == "gpt_neo":
        alternating = [[["global", "local"], layers // 2]]
        return t.GPTNeoConfig(**shared, num_layers=layers, num_heads=HEADS, attention_types=alternating)
    if name == "open_llama":
        return t.LlamaConfig(**gated)
    if name == "starcoder":
        return t.GPTBigCodeConfig(**shared, **blocks, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    if name == "olmo":
        return t.OlmoConfig(**gated)
    if name == "olmo2":
        return t.Olmo2Config(**gated)
    return t.Olmo3Config(**gated, sliding_window=POSITIONS // 2)
