-- One row is one group of sequences under one model: how deep in the model the next token is settled.
--
-- Why this number: settled is the first layer from which the likeliest token (logit lens) stays the model's own final
-- one, as a share of the depth. It needs no threshold and is the same under any scale of the logits; a fixed
-- probability is neither, and may order models the other way round once states are normalised. The threshold measure
-- stands beside it because studies report it: the first layer at which the target's probability passes 0.5.
-- Interval: 95 %, document-cluster (effective_n and cluster_margin in macros.sql): neither the positions of a sequence
-- nor the sequences of a document are independent.
-- Leaves out: whether the final token is right; differences between positions and between domains, which are pooled.
-- The mean depth of passing is over the positions that ever pass: read it with the share that never does.
-- Units: depths are shares of the blocks: 0 after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; Belrose et al. 2023, arXiv 2303.08112.
-- Columns:
--   family            architecture and training line
--   model             the model
--   miniature         trained here, tiny, on a small corpus: not comparable with published models
--   params            its number of parameters (see model_sizes); NULL: not known
--   corpus            corpus of the sequences
--   role              'trained' or 'control'; NULL: not known
--   group             'memorized', 'unmemorized', or 'matched' (see layer_groups)
--   n_layers          blocks of the model
--   n                 sequences; a matched one counts as often as it was chosen
--   documents         documents they lie in
--   positions         continuation positions of the n sequences
--   depth             mean depth at which the likeliest token is settled
--   low               lower end of its interval; 0 with one document
--   high              upper end of its interval; 1 with one document
--   quartile_1        depth by which a quarter of the positions is settled
--   quartile_2        depth by which half of them is
--   quartile_3        depth by which three quarters are
--   passing_depth     mean depth at which the target passes the threshold; NULL: it never does
--   passing_low       lower end of its interval; 0 with one document
--   passing_high      upper end of its interval; 1 with one document
--   never_passes      share of positions at which no layer passes
--   never_low         lower end of its interval
--   never_high        upper end of its interval
with parameters as (select
    0.5 as threshold    -- probability of the target that counts as passed, when exceeded
), positions as (
    select model, corpus, "group", coalesce(document_id, sequence_id) as document, position,
        first_layer / (len(top1) - 1) as depth,
        (list_position(list_transform(target_probability, lambda p: p > threshold), true) - 1) / (len(top1) - 1)
            as passing,
        unnest(range(weight))   -- a matched sequence counts as often as it was chosen
    from layer_tokens
    join layer_groups using (model, corpus, domain, sequence_id)
    left join sequences using (sequence_id, corpus, domain), parameters
), quartiles as (
    select model, corpus, "group", quantile_disc(depth, [0.25, 0.5, 0.75]) as quartiles
    from positions
    group by all
), means as (
    select model, corpus, "group", sum(n)::bigint as n, count(*) as documents, sum(positions)::bigint as positions,
        sum(depth) / sum(positions) as depth, cluster_margin(depth, positions) as margin,
        sum(passing) / nullif(sum(passes), 0) as passing, cluster_margin(passing, passes) as passing_margin,
        sum(positions - passes) / sum(positions) as never_passes,
        cluster_low(positions - passes, positions) as never_low,
        cluster_high(positions - passes, positions) as never_high
    from (
        select model, corpus, "group", document, count(*) filter (position = 0) as n, count(*) as positions,
            sum(depth) as depth, count(passing) as passes, coalesce(sum(passing), 0) as passing
        from positions
        group by all
    )
    group by all
)
select family, model, miniature, params, corpus, role, "group", n_layers, n, documents, positions,
    depth,      -- greatest and least pass over NULL: one document leaves 0 to 1
    greatest(0, depth - margin) as low, least(1, depth + margin) as high,
    quartiles[1] as quartile_1, quartiles[2] as quartile_2, quartiles[3] as quartile_3,
    passing as passing_depth, if(passing is null, null, greatest(0, passing - passing_margin)) as passing_low,
    if(passing is null, null, least(1, passing + passing_margin)) as passing_high,
    never_passes, never_low, never_high
from means
join quartiles using (model, corpus, "group")
join model_sizes using (model)
join (select model, n_layers from models) using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, "group"
