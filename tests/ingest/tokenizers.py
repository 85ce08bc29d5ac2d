"""Small tokenizers of the two kinds that there are, trained on a few lines."""

from __future__ import annotations

from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from memlake.warehouse.models.registry import ModelSpec

LINES = [
    "The quick brown fox jumps over the lazy dog, and the dog sleeps on.",
    "def add(a, b):\n    return a + b\n\n\ndef take(a, b):\n    return a - b\n",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
]


def byte_level(vocab: int = 330, nfc: bool = False, prefix_space: bool = False) -> Tokenizer:
    """GPT-2's kind; with NFC and added runs of spaces it is GPT-NeoX's."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=prefix_space)
    t.decoder = decoders.ByteLevel()
    if nfc:
        t.normalizer = normalizers.NFC()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    t.train_from_iterator(
        LINES,
        trainers.BpeTrainer(
            vocab_size=vocab, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
        ),
    )
    if nfc:
        t.add_tokens([AddedToken("    ", normalized=False), AddedToken("  ", normalized=False)])
    return t


def sentencepiece(byte_fallback: bool = True) -> Tokenizer:
    """Llama's kind: a space put first, `▁` for spaces, bytes for what the vocabulary has not."""
    t = Tokenizer(models.BPE(byte_fallback=byte_fallback, unk_token="<unk>"))
    t.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=True)
    t.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    specials = ["<unk>", "<s>", *(f"<0x{i:02X}>" for i in range(256))]
    t.train_from_iterator(LINES, trainers.BpeTrainer(vocab_size=400, special_tokens=specials[:2], show_progress=False))
    if byte_fallback:  # the byte tokens are pieces of the vocabulary, not special ones
        t = with_bytes(t)
    return t


def with_bytes(t: Tokenizer) -> Tokenizer:
    import json

    parts = json.loads(t.to_str())
    vocabulary = parts["model"]["vocab"]
    for i in range(256):
        vocabulary[f"<0x{i:02X}>"] = len(vocabulary)
    return Tokenizer.from_str(json.dumps(parts))


def saved(t: Tokenizer, folder: Path) -> ModelSpec:
    """The tokenizer as a checkpoint's folder."""
    folder.mkdir(parents=True)
    t.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text("{}")
    return ModelSpec(name=folder.name, location=str(folder), is_folder=True)
