-- says: of what the largest model reproduces verbatim {} is text that gives its continuation away
-- unit: %
with parts as (         -- domains are put together by what of each is memorized
    select *, memorized / nullif(sum(memorized) over (partition by model, corpus), 0) as weight
    from largest(guessability)
    where memorized > 0
)
select family, model, corpus, sample, value, low, high, if(value is null, 'nothing is memorized', null) as note
from (select distinct family, model, corpus, sample from largest(guessability))
left join (
    select model, corpus, sum(weight * share) as value, total_low(weight, share, share_low) as low,
        total_high(weight, share, share_high) as high
    from parts
    group by model, corpus
) using (model, corpus)
