-- whether: models of a family memorize the same text
-- more: the two largest models have {} of what either memorizes in common, more than chance
-- less: the two largest models have {} of what either memorizes in common, less than chance
-- unit: %
with models as (
    select distinct family, model, miniature, params from corpus_rate
), pairs as (
    select a.family, a.miniature, a.params, b.params as params_b, s.*, 'trained' as role
    from shared_memorization s
    join models a on a.model = model_a
    join models b on b.model = model_b and b.family = a.family
    where role_a = 'trained' and role_b = 'trained' and model_a <> model_b
)
select family, concat_ws(', ', model_a, model_b) as model, corpus, sample, jaccard as value, low, high,
    expected_jaccard as none, if(jaccard is null, 'neither memorizes anything', null) as note
from of_sample(pairs)
qualify row_number() over (partition by family, corpus
    order by greatest(params, params_b) desc, least(params, params_b) desc, model_a, model_b) = 1
