"""The commands whose texts are pinned, and those that make the small lake."""

from __future__ import annotations

GROUPS = {
    "ingest": ("list", "show", "run", "sample", "count"),
    "compute": ("list", "show", "models", "plan", "run"),
    "warehouse": ("status", "tables", "show", "history", "check", "forget", "compact", "catalog"),
    "query": ("list", "show", "run"),
    "report": ("list", "run", "diff", "schedule"),
    "study": ("list", "show", "plan", "run", "status"),
}
SOURCES = (
    *("dolma", "dolma3", "dolmino_mix", "huggingface", "jsonl", "memorized_evals", "olmo_mix", "parquet", "pile"),
    *("python_environment", "python_environment_held_out", "redpajama", "results", "starcoderdata"),
)
EXPERIMENTS = ["head_ablation", "layer_tokens", "noise", "prompt_compression", "scoring", "short_circuit"]

HELP = {"memlake": [], "demo": ["demo"], "sql": ["sql"]}
HELP |= {group: [group] for group in GROUPS}
HELP |= {f"{group}-{name}": [group, name] for group, names in GROUPS.items() for name in names}
HELP |= {f"ingest-run-{name}": ["ingest", "run", name] for name in SOURCES}
HELP |= {f"compute-run-{name}": ["compute", "run", name] for name in EXPERIMENTS}

_listed = ["ingest list", "compute list", "compute models", "query list", "report list", "study list"]
_listed += [f"ingest show {name}" for name in SOURCES] + [f"compute show {name}" for name in EXPERIMENTS]
LISTS = {words.replace(" ", "-"): words.split() for words in _listed}
LISTS |= {f"{name}-json": [*words, "--format", "json"] for name, words in LISTS.items()}

_mine = "ingest run jsonl --path corpora/mine --corpus mine --domain-field kind"
_measure = "--corpus mine --device cpu"
_neox, _llama = "--model tiny-neox", "--model tiny-llama"
_scored = "--model tiny-llama --domain songs --bos"
_options = [
    "scoring --model tiny-neox",
    "scoring --model tiny-neox --decoding forced",
    "scoring --model tiny-neox --dtype bfloat16 --attention eager --bos --no-eos",
    "scoring --model tiny-neox --domain songs --limit 3 --batch-size 2",
    "scoring --model tiny-llama --no-bos --role control --family other",
    "prompt_compression --model tiny-neox",
    "prompt_compression --model tiny-neox --window prefix",
    "noise --model tiny-neox",
    "noise --model tiny-neox --among all --strength 0.05 --strength 1 --seed 3 --seed 1 --layer 1",
    "noise --model tiny-neox --among memorized --scope row",
    f"noise {_scored} --among all --decoding forced --strength 0.25",
    "layer_tokens --model tiny-neox",
    f"layer_tokens {_scored} --among memorized",
    f"layer_tokens {_scored} --among all",
    "head_ablation --model tiny-neox",
    "head_ablation --model tiny-neox --among all",
    "head_ablation --model tiny-neox --among contrast --method zero",
    f"head_ablation {_scored} --method mean",
    f"head_ablation {_scored} --method resample --among all --limit 5",
    "head_ablation --model tiny-neox --method mean --screen",
    "short_circuit --model tiny-neox",
    f"short_circuit {_scored} --blocks 0-1 --blocks 1 --among all",
]
_small_lake = [
    _mine,
    "ingest run jsonl --path corpora/many.jsonl --corpus many --domain-field kind --class a=structural --keep 4",
    "ingest run jsonl --path corpora/many.jsonl --corpus strict --id-field kind --domain of-its-own --class structural"
    " --max-bytes 500 --strict",
    "ingest run jsonl --path corpora/folders --corpus folders --domain-field lang --text-field body",
    "ingest run parquet --path corpora/parquet --corpus columns --domain-field meta.set",
    "ingest run huggingface --dataset corpora/hub --corpus hub --domain-field of",
    "ingest run huggingface --dataset corpora/hub --corpus hub-test --split test",
    "ingest run pile --path corpora/pile",
    "ingest run redpajama --path corpora/redpajama",
    "ingest run starcoderdata --path corpora/starcoderdata --max-bytes 100000",
    "ingest run dolma --path corpora/dolma --corpus dolma-v1",
    "ingest run olmo_mix --path corpora/olmo-mix",
    "ingest run dolmino_mix --path corpora/dolmino",
    "ingest run dolma3 --path corpora/dolma3",
    "ingest run memorized_evals --path results/data",
    "ingest run results --path results/theirs.jsonl --family their-family --params 1000000",
    f"ingest sample --corpus mine {_neox} {_llama} --per-domain 6",
    f"ingest sample --corpus mine {_neox} --domain prose --domain chinese --per-domain 2 --window bytes:64+32 --seed 5",
    f"ingest sample --corpus mine --corpus pile {_llama} --per-domain 3 --window 8+16 --at start",
    "ingest count --corpus mine --tokenizer own --tokenizer bytes --tokenizer tiny-llama",
    "ingest count --corpus mine --in many --model tiny-neox --domain songs",
    "ingest count --corpus mine --in streamed --source jsonl --path corpora/many.jsonl --model tiny-llama",
    f"compute run scoring {_neox} {_measure}",
    f"compute run scoring {_scored} {_measure} --role control",
    f"compute run prompt_compression {_neox} {_measure} --domain songs",
    f"compute run noise {_neox} {_measure} --domain songs --among all --limit 2 --strength 0.1",
    f"compute run layer_tokens {_neox} {_measure} --domain songs --among all --limit 2",
    f"compute run head_ablation {_neox} {_measure} --domain songs",
    f"compute run short_circuit {_neox} {_measure} --domain songs",
    *(f"compute plan {words} {_measure}" for words in _options),
    "compute plan scoring --model tiny-neox --corpus pile --device cpu",
    _mine,
    f"compute run scoring {_neox} {_measure}",
]
SMALL_LAKE = [words.split() for words in _small_lake]
_asked = "select corpus, domain, tokenizer, count(*) as n from sequences group by all order by all"
SMALL_LAKE += [["sql", _asked], ["sql", _asked, "--format", "csv"], ["sql", _asked, "--format", "json"]]
# Their ids and their rows depend on what is installed, so that little is pinned of them
MADE_HERE = [["ingest", "run", source, "--limit", "2"] for source in SOURCES if source.startswith("python_environment")]
FAILING = [
    words.split()
    for words in [
        "ingest run jsonl --path corpora/none --corpus c",
        "ingest run jsonl --path corpora/many.jsonl",
        "ingest run jsonl --path corpora/many.jsonl --corpus mine2 --dataset x",
        "ingest run jsonl --path corpora/mine --corpus mine3 --domain-field kin",
        "ingest run jsonl --path corpora/mine --corpus mine4 --strict",
        "ingest run jsnl",
        "ingest run results --path results/theirs.jsonl --keep 3",
        f"ingest sample --corpus mien {_neox}",
        f"ingest sample --corpus mine {_neox} --window 3",
        "ingest count --corpus mine --path corpora/mine",
        f"compute plan scorin {_neox} {_measure}",
        f"compute plan scoring --model pythea-1b {_measure}",
        f"compute plan scoring {_neox} {_measure} --among all",
        f"compute plan head_ablation {_neox} {_measure} --method none",
        f"compute plan scoring {_neox} {_measure} --dtype float8",
        f"compute plan noise {_neox} {_measure} --layer 2",
        f"compute plan short_circuit {_neox} {_measure} --blocks 1-5",
        f"compute plan scoring {_neox} {_measure} --role control",
        "warehouse show sequence",
        "warehouse forget",
        "query run scaling-law",
        "query run scaling_law -p size=1",
        "query run corpus_rate -p condition=float8",
        "sql selec",
        "warehouse status --lake nowhere",
    ]
]
