-- says: the largest model reproduces {} of its training text verbatim
-- unit: %
with studied as (       -- of released lists it is 1, by selection
    from corpus_rate where corpus <> 'memorized_evals'
)
select family, model, corpus, concat(sample, if(weighted_by = 'sample', ', domains as sampled', '')) as sample,
    rate as value, low, high
from largest(studied)
qualify row_number() over (partition by model, corpus order by rate is null, weighted_by) = 1   -- 'bytes' before 'sample'
