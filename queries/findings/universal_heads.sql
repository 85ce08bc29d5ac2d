-- One row is one model on one corpus under one method: the heads that are important in every domain.
--
-- Why this number: a head that matters for any memorized text, code or prose, is part of a general mechanism.
-- Important in a domain are the heads with the largest mean drop of log-probability, `share` of all the model's
-- heads and at least one (see head_importance). How many are important everywhere falls with every domain that is
-- asked: were domains independent it would be, on average, heads * product over domains of (important / heads),
-- which stands beside it.
-- Leaves out: heads that screening dropped in some domain; how near a head came to the threshold. The expectation
-- holds exactly, but carries no interval; head_overlap tests domains in pairs.
-- Units: counts of heads; shares of all the model's heads in [0, 1].
-- Source: arXiv 2603.21658, section 4.7.
-- Columns:
--   family            architecture and training line
--   model             the model
--   miniature         trained here, tiny, on a small corpus: not comparable with published models
--   params            its number of parameters (see model_sizes); NULL: not known
--   corpus            corpus of the sequences
--   role              'trained' or 'control'; NULL: not known
--   method            what stands in for a head: see head_importance
--   domains           domains of the corpus with a ranking of heads
--   heads             heads of the model
--   universal         heads important in all domains; NULL: see note
--   universal_share   universal / heads
--   expected          mean number of such heads, were domains independent
--   expected_share    expected / heads
--   which             the heads: L2H5 is head 5 of layer 2, both from 0
--   note              'one domain', or NULL
with parameters as (select
    0.2 as share        -- share of a model's heads that count as important
), important as (
    select model, corpus, method, domain, heads, layer, head,
        count(*) over (partition by model, corpus, method, domain) as k
    from head_drops, parameters
    where place <= greatest(1, round(share * heads))
), sizes as (
    select model, corpus, method, count(*) as domains, any_value(heads) as heads,
        any_value(heads) * product(k / heads) as expected
    from (select distinct model, corpus, method, domain, heads, k from important)
    group by all
), universal as (
    select model, corpus, method, count(*) as universal,
        string_agg('L' || layer || 'H' || head, ' ' order by layer, head) as which
    from (
        select model, corpus, method, layer, head, count(*) as met
        from important
        group by all
    )
    join sizes using (model, corpus, method)
    where met = domains
    group by all
), counted as (
    select model, corpus, method, domains, heads, expected, which,
        if(domains > 1, coalesce(universal, 0), null) as universal
    from sizes
    left join universal using (model, corpus, method)
)
select family, model, miniature, params, corpus, role, method, domains, heads,
    universal, universal / heads as universal_share,
    if(domains > 1, expected, null) as expected, if(domains > 1, expected / heads, null) as expected_share,
    if(domains > 1, which, null) as which, if(domains > 1, null, 'one domain') as note
from counted
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, method
