-- whether: text that training repeats is memorized more
-- more: the largest model reproduces {} more of the text repeated most often than of that repeated least
-- less: the largest model reproduces {} less of the text repeated most often than of that repeated least
-- unit: percentage points
with buckets as (       -- showings that were recorded before duplicates that were counted
    from largest(dose_response)
    where at_least is not null and rate is not null and documents >= 10
    qualify dense_rank() over (
        partition by model, corpus order by dose desc, complete desc, own desc, counted_corpus <> corpus,
        counted_corpus, counted_tokenizer) = 1
), ends as (
    select model, corpus, arg_max({'rate': rate, 'low': low, 'high': high}, at_least) as most,
        arg_min({'rate': rate, 'low': low, 'high': high}, at_least) as least
    from buckets
    group by model, corpus
    having count(*) > 1
)
select family, model, corpus, sample, most.rate - least.rate as value,
    difference_low(most.rate, most.low, least.rate, least.high, 0) as low,
    difference_high(most.rate, most.high, least.rate, least.low, 0) as high, 0 as none,
    if(most is null, 'all text was repeated alike, as far as is known', null) as note
from (select distinct family, model, corpus, sample from largest(dose_response))
left join ends using (model, corpus)
