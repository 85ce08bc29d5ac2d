-- whether: models of a family memorize the same text
-- more: the two largest models have {} of what either memorizes in common, more than chance
-- less: the two largest models have {} of what either memorizes in common, less than chance
-- unit: %
with models as (        -- of main revisions, whose size is known
    select distinct family, model, miniature, params
    from corpus_rate
    where params is not null and not contains(model, '@')
), pairs as (
    select a.family, a.miniature, a.params, b.params as params_b, s.*
    from shared_memorization s
    join models a on a.model = model_a
    join models b on b.model = model_b and b.family = a.family and b.miniature = a.miniature
    where role_a = 'trained' and role_b = 'trained' and model_a <> model_b and corpus <> 'memorized_evals'
)
select family, concat_ws(', ', model_a, model_b) as model, corpus, sample, jaccard as value, low, high,
    expected_jaccard as none,
    case when jaccard is not null then null
        when coalesce(n, 0) = 0 then 'asked about nothing in common'
        else 'neither memorizes anything'
    end as note
from of_sample(pairs)
qualify row_number() over (partition by family, corpus
    order by greatest(params, params_b) desc, least(params, params_b) desc, model_a, model_b) = 1
