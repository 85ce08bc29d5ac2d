-- whether: memorized windows are more frequent in the corpus
-- more: windows that the largest model reproduces have {} the geometric mean of 1 + count, in the corpus, of those of which it gets nothing right
-- less: windows that the largest model reproduces have {} the geometric mean of 1 + count, in the corpus, of those of which it gets nothing right
-- unit: times
with studied as (
    from frequency_by_bucket where corpus <> 'memorized_evals'
), windows as (
    from largest(studied)
    where span = 'window' and "position" is null
    qualify dense_rank() over (
        partition by model, corpus order by complete desc, own desc, counted_corpus <> corpus, counted_corpus,
        counted_tokenizer) = 1
), compared as (
    select m.model, m.corpus, m.mean_log10 as m, m.low as m_low, m.high as m_high, u.mean_log10 as u, u.low as u_low,
        u.high as u_high
    from windows m
    join windows u using (model, corpus)
    where m."group" = 'memorized' and u."group" = 'unmemorized'
)
select family, model, corpus, sample, 10 ** (m - u) as value, 10 ** difference_low(m, m_low, u, u_high, 0) as low,
    10 ** difference_high(m, m_high, u, u_low, 0) as high, 1 as none,
    if(m_low is null or u_low is null, 'too few windows, or all alike', null) as note
from (select distinct family, model, corpus, sample from largest(studied))
left join compared using (model, corpus)
