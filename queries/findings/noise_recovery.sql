-- One row is one layer of one model on one corpus, under one strength of noise and for one group of sequences: how near
-- the disturbed hidden states are to the clean ones.
--
-- Why this number: noise enters at one layer, and what later layers make of it says whether the computation returns to
-- its course. The paper finds that it does, and less so for memorized text. But entropy goes with memorization: only
-- `difference`, of pairs of like completion entropy (groups_of in views/groups.sql), can tell the two apart. Recovery
-- is the cosine at a layer less that where the noise entered, sequence by sequence. States also grow from layer to
-- layer, which alone makes a disturbance of fixed size smaller relative to them.
-- Interval: 95 %, over documents (see cluster_margin and difference_margin in macros.sql), which may pass the ends of
-- the scale; NULL for less than two, or where all are alike, as they are by construction up to noise_layer.
-- Leaves out: what the text becomes under noise (noise_rate has it): the tokens are the true ones throughout. Means are
-- over the positions of each part, domains and seeds.
-- Units: cosine in [-1, 1]; relative_l2 in norms of the clean state; noise in standard deviations of RMS(hidden state);
-- entropy in nats.
-- Source: arXiv 2603.21658, section 4.4; the pairs are ours.
-- Key: model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope, noise, part, group, layer
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, noise_layer, noise_scope
--   noise        strength
--   part         'prefix' or 'continuation'
--   group, layer, depth
--   n            sequences times seeds
--   documents
--   entropy      mean completion_entropy of the group without noise
--   cosine       mean cosine of disturbed and clean state
--   cosine_low, cosine_high
--   relative_l2  mean of |disturbed - clean| / |clean|
--   relative_l2_low, relative_l2_high
--   recovery     mean of the cosine less that at noise_layer; NULL before it
--   recovery_low, recovery_high
--   pairs        pairs, times seeds, of which both were measured; NULL but for the memorized
--   paired_share
--   difference   of the pairs, recovery of the memorized less that of the matched; NULL: see note
--   difference_low, difference_high, note
with parameters as (select
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), groups as materialized (
    from noise_groups
), lines as (
    select distinct line, model, corpus, sample_rule, sample_window, condition from groups
), measures as materialized (       -- grouping by a number instead of names is three times as fast
    select *, row_number() over ()::int as measure
    from (
        select distinct line, noise_layer, noise_scope, noise, part
        from (select distinct model, corpus, condition, part from layer_similarity)
        join noise_conditions using (model, condition)
        join lines using (model, corpus)
    )
), grouped as materialized (
    select measure, "group", text, noise_layer, entropy, cosine, relative_l2,
        pair is not null and count(*) over (partition by measure, noise_seed, pair) = 2 as paired
    from (select model, corpus, domain, sequence_id, condition, part, cosine, relative_l2 from layer_similarity)
    join noise_conditions using (model, condition)
    join (select * exclude (sample_rule, sample_window, condition) from groups)
        using (model, corpus, domain, sequence_id)
    join measures using (line, noise_layer, noise_scope, noise, part)
), documents as (
    select measure, "group", text, any_value(noise_layer) as noise_layer, count(*)::double as n,
        coalesce(sum(entropy), 0) as entropy, count(entropy) as with_entropy,
        sum_lists(list(cosine)) as cosine, sum_lists(list(relative_l2)) as relative_l2
    from grouped
    group by measure, "group", text
), layers as (
    select measure, "group", n, entropy, with_entropy, cosine[noise_layer + 1] as entered, len(cosine) - 1 as blocks,
        unnest(range(len(cosine))) as layer, unnest(cosine) as cosine, unnest(relative_l2) as relative_l2
    from documents
), means as (
    select measure, "group", layer, layer / blocks as depth, sum(n)::bigint as n, count(*) as documents,
        sum(entropy) / nullif(sum(with_entropy), 0) as entropy,
        sum(cosine) / sum(n) as cosine, cluster_margin(cosine, n) as cosine_margin,
        sum(relative_l2) / sum(n) as relative_l2, cluster_margin(relative_l2, n) as l2_margin,
        sum(cosine - entered) / sum(n) as gained, cluster_margin(cosine - entered, n) as gained_margin
    from layers
    group by all
), sides as (
    select measure, layer, text,
        count(*) filter ("group" = 'memorized') as n, sum(if("group" = 'memorized', gained, 0)) as x,
        count(*) filter ("group" = 'matched') as m, sum(if("group" = 'matched', gained, 0)) as y
    from (
        select measure, "group", text, unnest(range(len(cosine))) as layer,
            unnest(cosine)::double - cosine[noise_layer + 1] as gained
        from grouped
        where paired
    )
    group by measure, layer, text
), differences as (
    select measure, layer, 'memorized' as "group", sum(n)::bigint as found,
        fewer_documents(n, m) >= any_value(minimum_documents) as enough,
        sum(x) / sum(n) - sum(y) / sum(m) as difference, difference_margin(x, n, y, m) as margin
    from sides, parameters
    group by measure, layer
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    noise_layer, noise_scope, noise, part, "group", layer, depth, n, documents, entropy,
    cosine, cosine - cosine_margin as cosine_low, cosine + cosine_margin as cosine_high,
    relative_l2, relative_l2 - l2_margin as relative_l2_low, relative_l2 + l2_margin as relative_l2_high,
    if(layer >= noise_layer, gained, null) as recovery,
    if(layer >= noise_layer, gained - gained_margin, null) as recovery_low,
    if(layer >= noise_layer, gained + gained_margin, null) as recovery_high,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough and layer >= noise_layer, difference, null) as difference,
    if(enough and layer >= noise_layer, difference - margin, null) as difference_low,
    if(enough and layer >= noise_layer, difference + margin, null) as difference_high,
    pair_note("group", found, enough) as note
from means
join measures using (measure)
left join differences using (measure, layer, "group")
join labelled(lines) using (line)
order by family, params, model, corpus, sample_rule, sample_window, noise_layer, noise_scope, noise, part, "group",
    layer
