-- One row is one layer of one model on one corpus, under one strength of noise and for one group of sequences: how near
-- the disturbed hidden states are to the clean ones.
--
-- Why this number: noise enters at one layer, and what later layers make of it says whether the computation returns to
-- its course. The paper finds that it does, and less so for memorized text. But entropy goes with memorization: only
-- 'matched', text as certain and not memorized, can tell the two apart, and `entropy` says how near the match is.
-- Recovery is the cosine at a layer less that where the noise entered, sequence by sequence. States also grow from
-- layer to layer, which alone makes a disturbance of fixed size smaller relative to them.
-- Groups: see groups_of in views.sql.
-- Interval: 95 %, over documents (see cluster_margin in macros.sql), which may pass the ends of the scale; NULL for
-- less than two.
-- Leaves out: what the text becomes under noise (noise_rate has it): the tokens are the true ones throughout. Means are
-- over the positions of each part, domains and seeds.
-- Units: cosine in [-1, 1]; relative_l2 in norms of the clean state; noise in standard deviations of RMS(hidden state);
-- entropy in nats.
-- Source: arXiv 2603.21658, section 4.4; the matched group is ours.
-- Columns:
--   family             architecture and training line
--   model              the model
--   miniature          trained here, tiny, on a small corpus: not comparable with published models
--   params             its number of parameters (see model_sizes); NULL: not known
--   corpus             corpus of the sequences
--   role               'trained' or 'control'; NULL: not known
--   noise_layer        entry of hidden_states the noise is added to
--   noise_scope        over what RMS is taken
--   noise              strength
--   part               'prefix' or 'continuation'
--   group              'memorized', 'unmemorized' or 'matched', by the base condition
--   layer              0 after the embedding, l after block l
--   depth              layer / number of blocks
--   n                  sequences times seeds; one that is matched to several counts as often
--   documents          documents they lie in
--   entropy            mean completion_entropy of the group without noise
--   cosine             mean cosine of disturbed and clean state
--   cosine_low         lower end of its interval
--   cosine_high        upper end of its interval
--   relative_l2        mean of |disturbed - clean| / |clean|
--   relative_l2_low    lower end of its interval
--   relative_l2_high   upper end of its interval
--   recovery           mean of the cosine less that at noise_layer; NULL before it
--   recovery_low       lower end of its interval
--   recovery_high      upper end of its interval
with groups as materialized (
    select model, corpus, domain, sequence_id, "group", weight, coalesce(document_id, sequence_id) as document,
        completion_entropy
    from noise_groups
    join (select model, corpus, domain, sequence_id, completion_entropy from matches)
        using (model, corpus, domain, sequence_id)
    left join sequences using (sequence_id, corpus, domain)
), lines as materialized (      -- grouping by a number instead of names is three times as fast
    select *, row_number() over ()::int as line
    from (
        select distinct model, corpus, noise_layer, noise_scope, noise, part, "group"
        from (select distinct model, corpus, condition, part from layer_similarity)
        join noise_conditions using (model, condition)
        join (select distinct model, corpus, "group" from groups) using (model, corpus)
    )
), documents as (
    select line, document, any_value(noise_layer) as noise_layer, sum(weight)::double as n,
        coalesce(sum(weight * completion_entropy), 0) as entropy,
        coalesce(sum(weight) filter (completion_entropy is not null), 0) as with_entropy,
        sum_lists(list(cosine), list(weight)) as cosine, sum_lists(list(relative_l2), list(weight)) as relative_l2
    from layer_similarity
    join noise_conditions using (model, condition)
    join groups using (model, corpus, domain, sequence_id)
    join lines using (model, corpus, noise_layer, noise_scope, noise, part, "group")
    group by line, document
), layers as (
    select line, n, entropy, with_entropy, cosine[noise_layer + 1] as entered, len(cosine) - 1 as blocks,
        unnest(range(len(cosine))) as layer, unnest(cosine) as cosine, unnest(relative_l2) as relative_l2
    from documents
), means as (
    select line, layer, layer / blocks as depth, sum(n)::bigint as n, count(*) as documents,
        sum(entropy) / nullif(sum(with_entropy), 0) as entropy,
        sum(cosine) / sum(n) as cosine, cluster_margin(cosine, n) as cosine_margin,
        sum(relative_l2) / sum(n) as relative_l2, cluster_margin(relative_l2, n) as l2_margin,
        sum(cosine - entered) / sum(n) as gained, cluster_margin(cosine - entered, n) as gained_margin
    from layers
    group by all
)
select family, model, miniature, params, corpus, role, noise_layer, noise_scope, noise, part, "group",
    layer, depth, n, documents, entropy,
    cosine, cosine - cosine_margin as cosine_low, cosine + cosine_margin as cosine_high,
    relative_l2, relative_l2 - l2_margin as relative_l2_low, relative_l2 + l2_margin as relative_l2_high,
    if(layer >= noise_layer, gained, null) as recovery,
    if(layer >= noise_layer, gained - gained_margin, null) as recovery_low,
    if(layer >= noise_layer, gained + gained_margin, null) as recovery_high
from means
join lines using (line)
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, noise_layer, noise_scope, noise, part, "group", layer
