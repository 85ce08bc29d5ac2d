-- whether: larger models memorize more
-- more: a model ten times as large memorizes {} more
-- less: a model ten times as large memorizes {} less
-- unit: percentage points
select family, models || ' models' as model, corpus, sample, slope / 100 as value, slope_low / 100 as low,
    slope_high / 100 as high, 0 as none,
    case when note = 'too few' then 'fewer than three sizes' when slope_low is null then 'no interval' else note
        end as note
from of_sample(scaling_law)
where role = 'trained' and revision is null and corpus <> 'memorized_evals'
