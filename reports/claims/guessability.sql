-- says: of what the largest model reproduces verbatim {} is text that gives its continuation away
-- unit: %
with studied as (
    from guessability where corpus <> 'memorized_evals'
), parts as (         -- domains are put together by what of each is memorized
    select *, memorized / nullif(sum(memorized) over (partition by model, corpus), 0) as weight
    from largest(studied)
    where memorized > 0
)
select family, model, corpus, sample, value, low, high, if(value is null, 'nothing is memorized', null) as note
from (select distinct family, model, corpus, sample from largest(studied))
left join (
    select model, corpus, sum(weight * share) as value, share_low(weight, share, share_low) as low,
        share_high(weight, share, share_high) as high
    from parts
    group by model, corpus
) using (model, corpus)
