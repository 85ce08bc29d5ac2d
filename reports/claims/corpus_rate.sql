-- says: the largest model reproduces {} of its corpus verbatim
-- unit: %
select family, model, corpus, sample, rate as value, low, high
from largest(corpus_rate)
where corpus <> 'memorized_evals'   -- there it is 1 by selection
qualify row_number() over (partition by model, corpus order by weighted_by) = 1     -- 'bytes' before 'sample'
