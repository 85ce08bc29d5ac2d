-- whether: models reproduce more of their corpus than they could guess
-- more: the largest model reproduces {} more than the control nearest in size, which never saw the text
-- less: the largest model reproduces {} less than the control nearest in size, which never saw the text
-- unit: percentage points
with adjusted as (
    select *, 'trained' as role from control_adjusted_rate
), nearest as (
    from largest(adjusted)
    where basis in ('anchor', 'sequence')
    qualify dense_rank() over (
        partition by model, corpus order by basis, abs(ln(control_params / params)), control, control_condition) = 1
), compared as (        -- domains are put together by what of each was compared
    select model, corpus, sum(weight * adjusted_rate) as value, total_low(weight, adjusted_rate, low) as low,
        total_high(weight, adjusted_rate, high) as high
    from (select *, n / sum(n) over (partition by model, corpus) as weight from nearest)
    group by model, corpus
)
select family, model, corpus, sample, value, low, high, 0 as none,
    if(value is null, 'no control was asked at the same anchors', null) as note
from (select distinct family, model, corpus, sample from largest(adjusted))
left join compared using (model, corpus)
