-- says: half of the prompt is enough to call up {} of what the largest model reproduces from all of it
-- unit: %
with parts as (
    select *, n / sum(n) over (partition by model, corpus) as weight
    from largest(prompt_compression)
    where "window" = 'suffix'
)
select family, model, corpus, sample, sum(weight * within) as value, share_low(weight, within, low) as low,
    share_high(weight, within, high) as high
from parts
group by family, model, corpus, sample
