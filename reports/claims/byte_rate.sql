-- says: from the same anchors on, whatever its tokenizer, the largest model reproduces the next 32 bytes at {}
-- unit: %
select family, model, corpus, sample, rate as value, low, high, note
from largest(byte_rate)
where horizon = 32 and corpus <> 'memorized_evals'
