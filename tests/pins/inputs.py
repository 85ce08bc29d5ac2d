"""The files that the pinned commands read: the same bytes on any machine, with any version of any library.

Compressed files hold their text uncompressed, in blocks written by hand. The Parquet files lie ready in `files/`: their
bytes depend on the version of pyarrow that wrote them, and their digests are in the ids of cells.
"""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

READY = Path(__file__).parent / "files"
WIDTH, LAYERS, HEADS, POSITIONS = 64, 2, 4, 128
EOS = 256  # after the bytes
MERGES = [("l", "a"), ("Ġ", "la"), ("t", "h"), ("th", "e"), ("Ġ", "the"), ("e", "r"), ("i", "n")]
WORDS = (
    *("river", "stone", "lamp", "garden", "winter", "letter", "the", "a", "of", "and"),
    *("in", "under", "bright", "slow", "seven", "children", "walked", "carried", "never", "again"),
    *("window", "café", "Straße", "naïve", "song", "morning", "harbour", "paper", "answer", "question"),
)


def write(folder: Path) -> None:
    """All of them, below the folder."""
    _corpora(folder / "corpora")
    _measured_elsewhere(folder / "results")
    _checkpoint(folder / "tiny-neox", neox(), NEOX, tokenizer([], "<|endoftext|>", nfc=True), "<|endoftext|>")
    _checkpoint(folder / "tiny-llama", llama(), LLAMA, tokenizer(MERGES, "<s>", nfc=False), "<s>")
    (folder / "tiny-neox" / "memlake.json").write_text(
        json.dumps({"family": "tiny", "corpora": ["mine"], "tokenizer": "bytes-and-nfc"})
    )


# Corpora


def _corpora(folder: Path) -> None:
    mine = [
        *({"text": f"Song {i}: " + "la " * (120 + 40 * i) + "end", "kind": "songs", "id": i} for i in range(6)),
        {"text": prose(91, 150), "kind": "songs", "id": 90},
        *({"text": prose(i, 260 + 20 * i), "kind": "prose", "id": 100 + i} for i in range(5)),
        {"text": prose(7, 90) + " cafe\u0301 " + prose(8, 90), "kind": "prose", "id": 200},  # NFC changes it
        {"text": "short one", "kind": "prose", "id": 201},
        {"text": "春天的河流慢慢地经过村庄和花园" * 60, "kind": "chinese", "id": 300},
        {"text": prose(9, 60), "id": 400},  # of no domain
        {"text": "   ", "kind": "prose", "id": 500},
        {"text": 7, "kind": "prose", "id": 501},
    ]
    put(folder / "mine" / "a.jsonl", lines(mine[::2]) + b"{not json\n")
    put(folder / "mine" / "b.jsonl.gz", gzipped(lines(mine[1::2])))
    put(folder / "mine" / "notes.md", b"not read\n")
    put(folder / "many.jsonl", lines({"text": prose(i, 30), "kind": "ab"[i % 2]} for i in range(20)))
    put(folder / "folders" / "lang=en" / "0.jsonl.zst", zstd(lines([{"body": prose(31, 40)}])))
    put(folder / "folders" / "lang=de" / "0.jsonl", lines([{"body": prose(32, 40)}, {"body": None}]))
    pile = [{"text": prose(i, 40), "meta": {"pile_set_name": s}} for i, s in enumerate(["Github", "Wikipedia (en)"])]
    put(folder / "pile" / "00.jsonl.zst", zstd(lines([*pile, {"text": "no set", "meta": {}}])))
    put(folder / "redpajama" / "arxiv" / "arxiv_0.jsonl", lines([{"text": prose(41, 40), "meta": {}}]))
    put(folder / "redpajama" / "common_crawl" / "2019-30" / "en.jsonl.zst", zstd(lines([{"text": prose(42, 40)}])))
    put(folder / "starcoderdata" / "python" / "0.parquet", (READY / "starcoderdata.parquet").read_bytes())
    put(folder / "parquet" / "part.parquet", (READY / "documents.parquet").read_bytes())
    dolma = [{"id": str(i), "text": prose(50 + i, 40), "source": s} for i, s in enumerate(["c4", "stack-dedup"])]
    put(folder / "dolma" / "v1-0000.json.gz", gzipped(lines(dolma)))
    put(folder / "olmo-mix" / "data" / "wiki" / "w.json.gz", gzipped(lines([{"text": prose(60, 40)}])))
    put(folder / "olmo-mix" / "data" / "arxiv" / "a.json.gz", gzipped(lines([{"text": prose(61, 40)}])))
    put(folder / "dolmino" / "data" / "math" / "m.jsonl", lines([{"text": prose(62, 40)}]))
    dolma3 = [{"text": prose(63, 40)}, {"text": "[REMOVED]"}]
    put(folder / "dolma3" / "data" / "stack_edu-Python" / "s.jsonl.zst", zstd(lines(dolma3)))
    put(folder / "hub" / "train.jsonl", lines({"text": prose(70 + i, 40), "of": "x"} for i in range(3)))
    put(folder / "hub" / "test.jsonl", lines([{"text": prose(75, 40), "of": "y"}]))


def _measured_elsewhere(folder: Path) -> None:
    rows = [
        {
            **{"model": "their-model", "corpus": "theirs", "domain": "web", "sequence_id": f"s{i}", "n_tokens": 8},
            **{"match": [(i + k) % 3 > 0 or i == 2 for k in range(8)], "tokens": list(range(i, i + 12))},
            "prefix_tokens": 4,
        }
        for i in range(4)
    ]
    put(folder / "theirs.jsonl", lines(rows))
    put(folder / "data" / "duped.1.4b-00000-of-00001.parquet", (READY / "memorized_evals.parquet").read_bytes())


def prose(seed: int, words: int) -> str:
    """Words drawn by a linear congruential generator."""
    state, found = seed * 2654435761 % 2**32, []
    for _ in range(words):
        state = (1664525 * state + 1013904223) % 2**32
        found.append(WORDS[(state >> 16) % len(WORDS)])
    return " ".join(found)


def lines(records) -> bytes:
    return b"".join(json.dumps(record, ensure_ascii=False).encode() + b"\n" for record in records)


def put(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def gzipped(data: bytes) -> bytes:
    """One gzip member of stored blocks."""
    blocks = [data[i : i + 0xFFFF] for i in range(0, len(data), 0xFFFF)]
    body = b"".join(
        bytes([i == len(blocks) - 1]) + len(b).to_bytes(2, "little") + (len(b) ^ 0xFFFF).to_bytes(2, "little") + b
        for i, b in enumerate(blocks)
    )
    end = zlib.crc32(data).to_bytes(4, "little") + len(data).to_bytes(4, "little")
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + body + end


def zstd(data: bytes) -> bytes:
    """One zstd frame (RFC 8878) of one raw block, of less than 128 KiB: single segment, size in four bytes."""
    block = (len(data) << 3 | 1).to_bytes(3, "little")  # last, raw
    return b"\x28\xb5\x2f\xfd" + b"\xa0" + len(data).to_bytes(4, "little") + block + data


# Checkpoints: what a model reads decides what it says next, by a table


NEOX = {
    "architectures": ["GPTNeoXForCausalLM"],
    "model_type": "gpt_neox",
    "vocab_size": EOS + 1,
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "max_position_embeddings": POSITIONS,
    "rotary_pct": 0.25,
    "use_parallel_residual": True,
    "tie_word_embeddings": False,
    "bos_token_id": EOS,
    "eos_token_id": EOS,
    "torch_dtype": "float32",
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": EOS + 1 + len(MERGES),
    "hidden_size": WIDTH,
    "intermediate_size": 2 * WIDTH,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": 2,
    "max_position_embeddings": POSITIONS,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "bos_token_id": EOS,
    "eos_token_id": 10,
    "torch_dtype": "float32",
}


def signs(seed: int, *shape: int) -> np.ndarray:
    """+1 and -1 by a 64-bit mixer (splitmix64) of the place; float32."""
    x = np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(seed << 32)
    x = (x + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (((x >> np.uint64(40)) & np.uint64(1)).astype(np.float32) * 2 - 1).reshape(shape)


def said_after(vocabulary: int, pairs: dict[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Embedding and unembedding under which token t is followed by pairs[t], else by 3 t + 1: the logit of that is
    12.8, and those of others are near 0, so that no rounding changes what is said."""
    embedding = signs(1, vocabulary, WIDTH)
    unembedding = np.zeros_like(embedding)
    for t in range(vocabulary):
        unembedding[pairs.get(t, (3 * t + 1) % vocabulary)] += np.float32(0.2) * embedding[t]
    return embedding, unembedding


def neox() -> dict[str, np.ndarray]:
    """After `l`, `a` and a space it says what goes on with `la la la`. Block 1 puts forward another token; its head 0
    takes that back, so that nothing is memorized without this head."""
    pairs = {ord("l"): ord("a"), ord("a"): ord(" "), ord(" "): ord("l"), ord("t"): ord("h"), ord("h"): ord("e")}
    embedding, unembedding = said_after(NEOX["vocab_size"], pairs)
    found = {"gpt_neox.embed_in.weight": embedding, "embed_out.weight": unembedding}
    found |= {"gpt_neox.final_layer_norm.weight": np.ones(WIDTH), "gpt_neox.final_layer_norm.bias": np.zeros(WIDTH)}
    size = WIDTH // HEADS
    for layer in range(LAYERS):
        at = f"gpt_neox.layers.{layer}"
        shapes = {
            "attention.query_key_value": (3 * WIDTH, WIDTH),
            "attention.dense": (WIDTH, WIDTH),
            "mlp.dense_h_to_4h": (2 * WIDTH, WIDTH),
            "mlp.dense_4h_to_h": (WIDTH, 2 * WIDTH),
        }
        for i, (name, shape) in enumerate(shapes.items()):
            found[f"{at}.{name}.weight"] = np.float32(0.02) * signs(10 + 10 * layer + i, *shape)
            found[f"{at}.{name}.bias"] = np.zeros(shape[0])
        for name in ("input_layernorm", "post_attention_layernorm"):
            found |= {f"{at}.{name}.weight": np.ones(WIDTH), f"{at}.{name}.bias": np.zeros(WIDTH)}
    other = 3 * embedding[ord("q")]
    found["gpt_neox.layers.1.attention.query_key_value.bias"][2 * size : 3 * size] = 1  # values of head 0
    found["gpt_neox.layers.1.attention.dense.weight"][:, :size] -= other[:, None] / size
    found["gpt_neox.layers.1.attention.dense.bias"] += other
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def llama() -> dict[str, np.ndarray]:
    """After ` la` it says ` la`."""
    la = EOS + 2
    embedding, unembedding = said_after(LLAMA["vocab_size"], {la: la, ord("t"): ord("h")})
    found = {"model.embed_tokens.weight": embedding, "lm_head.weight": unembedding, "model.norm.weight": np.ones(WIDTH)}
    shapes = {
        "self_attn.q_proj": (WIDTH, WIDTH),
        "self_attn.k_proj": (WIDTH // 2, WIDTH),
        "self_attn.v_proj": (WIDTH // 2, WIDTH),
        "self_attn.o_proj": (WIDTH, WIDTH),
        "mlp.gate_proj": (2 * WIDTH, WIDTH),
        "mlp.up_proj": (2 * WIDTH, WIDTH),
        "mlp.down_proj": (WIDTH, 2 * WIDTH),
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}"
        for i, (name, shape) in enumerate(shapes.items()):
            found[f"{at}.{name}.weight"] = np.float32(0.02) * signs(40 + 10 * layer + i, *shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}.{name}.weight"] = np.ones(WIDTH)
    return {name: np.ascontiguousarray(value, np.float32) for name, value in found.items()}


def tokenizer(merges: list[tuple[str, str]], special: str, nfc: bool) -> dict:
    """tokenizer.json of GPT-2's kind: token b is byte b, then the special token, then what is merged."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    letter = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}
    vocabulary = {letter[b]: b for b in range(256)} | {special: EOS}
    vocabulary |= {a + b: EOS + 1 + i for i, (a, b) in enumerate(merges)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": EOS, "content": special, **flags}],
        "normalizer": {"type": "NFC"} if nfc else None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": [list(pair) for pair in merges],
        },
    }


def _checkpoint(folder: Path, weights: dict[str, np.ndarray], config: dict, tokenizer: dict, bos: str) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": bos, "eos_token": bos}))
