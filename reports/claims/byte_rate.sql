-- says: from the same anchors on, whatever its tokenizer, the largest model reproduces the next 32 bytes at {}
-- unit: %
with studied as (
    from byte_rate where corpus <> 'memorized_evals'
)
select family, model, corpus, sample, rate as value, low, high, note
from largest(studied)
where horizon = 32
