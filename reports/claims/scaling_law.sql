-- whether: larger models memorize more
-- more: a model ten times as large memorizes {} more
-- less: a model ten times as large memorizes {} less
-- unit: percentage points
with studied as (
    from scaling_law where role = 'trained' and revision is null and corpus <> 'memorized_evals'
)
select family, models || ' models' as model, corpus, sample, slope / 100 as value, slope_low / 100 as low,
    slope_high / 100 as high, 0 as none, if(note = 'too few', 'fewer than three sizes', note) as note
from of_sample(studied)
qualify row_number() over (partition by family, corpus order by sizes desc, models desc, condition) = 1
