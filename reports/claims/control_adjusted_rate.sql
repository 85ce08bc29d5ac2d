-- whether: models reproduce more of their corpus than they could guess
-- more: the largest model reproduces {} more than the control nearest in size, which never saw the text
-- less: the largest model reproduces {} less than the control nearest in size, which never saw the text
-- unit: percentage points
with studied as (
    select *, 'trained' as role from control_adjusted_rate where corpus <> 'memorized_evals'
), compared as (        -- covered: domains on which the control was asked
    select *, count(*) over (partition by model, corpus, control, control_condition, basis) as covered
    from largest(studied)
    where basis in ('anchor', 'sequence')
), nearest as (
    from compared
    qualify dense_rank() over (
        partition by model, corpus
        order by covered desc, basis, abs(ln(control_params / params)), control, control_condition) = 1
), adjusted as (        -- domains are put together by what of each was compared
    select model, corpus, sum(weight * adjusted_rate) as value, share_low(weight, adjusted_rate, low) as low,
        share_high(weight, adjusted_rate, high) as high
    from (select *, n / sum(n) over (partition by model, corpus) as weight from nearest)
    group by model, corpus
)
select family, model, corpus, sample, value, low, high, 0 as none,
    if(value is null, 'no control was asked at the same anchors', null) as note
from (select distinct family, model, corpus, sample from largest(studied))
left join adjusted using (model, corpus)
