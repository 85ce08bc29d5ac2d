-- says: under the weakest noise that was tried, {} of what the largest model reproduces survives
-- unit: %
select family, model, corpus, concat_ws(', ', sample, concat('noise ', noise, ' at layer ', noise_layer)) as sample,
    rate as value, low, high
from largest(noise_rate)
where "group" = 'memorized' and noise > 0
qualify row_number() over (partition by model, corpus order by noise_layer, noise_scope desc, noise) = 1
