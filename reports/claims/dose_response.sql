-- whether: text that training shows more often is memorized more
-- more: the largest model reproduces {} more of the text that it was shown most often than of that shown least
-- less: the largest model reproduces {} less of the text that it was shown most often than of that shown least
-- unit: percentage points
with studied as (
    from dose_response where corpus <> 'memorized_evals'
), buckets as (         -- of text that was there at all
    select *, count(*) over (
        partition by model, corpus, dose, complete, own, counted_corpus, counted_tokenizer) as several
    from largest(studied)
    where at_least >= 1 and rate is not null and documents >= 10
), chosen as (          -- showings that were recorded before duplicates that were counted
    from buckets
    where several > 1
    qualify dense_rank() over (
        partition by model, corpus order by dose desc, complete desc, own desc, counted_corpus <> corpus,
        counted_corpus, counted_tokenizer) = 1
), ends as (
    select model, corpus, arg_max({'rate': rate, 'low': low, 'high': high}, at_least) as most,
        arg_min({'rate': rate, 'low': low, 'high': high}, at_least) as least
    from chosen
    group by model, corpus
)
select family, model, corpus, sample, most.rate - least.rate as value,
    difference_low(most.rate, most.low, least.rate, least.high, 0) as low,
    difference_high(most.rate, most.high, least.rate, least.low, 0) as high, 0 as none,
    if(most is null, 'no two doses of ten documents', null) as note
from (select distinct family, model, corpus, sample from largest(studied))
left join ends using (model, corpus)
