-- One row is one layer of one model for one group of sequences: how near its prediction is to the final one.
--
-- Why this number: it asks when the model has made up its mind, whether or not the mind is right: the likeliest token
-- of the layer (logit lens) is the last layer's. A shared scale of logits cannot change it; the divergence and the
-- entropy beside it say how near the whole prediction is, and how certain. `difference`, of pairs of like completion
-- entropy (groups_of in views/groups.sql), tells memory from mere certainty.
-- Interval: 95 %, document-cluster (effective_n and rate_difference_low in macros.sql), of the agreement.
-- Leaves out: differences between positions and between domains, which are pooled; agreement that is lost again in a
-- later layer counts here (decoding_depth counts what stays).
-- Units: shares in [0, 1]; divergence and entropy in nats; depth 0 is after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; nostalgebraist 2020 (logit lens); Belrose et al. 2023, arXiv 2303.08112.
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, group, layer, depth, n,
--   documents, positions
--   completion_entropy  mean completion entropy of the n sequences
--   agreement           share of positions whose likeliest token is the final one
--   low, high
--   rank_1              share of positions whose likeliest token is the target
--   kl                  mean Kullback-Leibler divergence from the last layer's prediction
--   entropy             mean entropy of the layer's prediction
--   pairs, paired_share
--   difference          of the pairs, agreement of the memorized less that of the matched; NULL: see note
--   difference_low, difference_high, note
with parameters as (select
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), sequences as materialized (
    from layer_sequences
), lines as (
    select distinct line, model, corpus, sample_rule, sample_window, condition from sequences
), units as materialized (
    select unit, line, text, memorized, pair is not null as has_pair, count(*)::double as n,
        sum(entropy) as completion_entropy, count(entropy) as with_entropy
    from sequences
    group by all
), sums as (       -- place: unit and layer, since one number is grouped by faster than two
    select place // 1024 as unit, place % 1024 as layer, count(*)::double as positions,
        count(*) filter (top1 = final_top1)::double as agreeing,
        count(*) filter (top1 = target)::double as first,
        sum(kl::double) as kl, sum(entropy::double) as entropy
    from (
        select target::int as target, top1[-1] as final_top1,
            unnest(range(1024 * unit::bigint, 1024 * unit::bigint + len(top1))) as place,
            unnest(top1) as top1, unnest(kl_to_final) as kl, unnest(entropy) as entropy
        from stored.layer_tokens
        join (select model, condition, sequence_id, unit from sequences) using (model, condition, sequence_id)
    )
    group by place
), grouped as (
    from sums
    join units using (unit)
), documents as materialized (
    select *, dense_rank() over (order by line, "group", text)::int as document
    from (select *, unnest(groups_named(memorized, has_pair)) as "group" from units)
), totals as (
    select line, "group", sum(n)::bigint as n, count(distinct document) as documents,
        sum(completion_entropy) / nullif(sum(with_entropy), 0) as completion_entropy
    from documents
    group by line, "group"
), of_layers as (
    select place // 1024 as document, place % 1024 as layer, sum(positions) as positions,
        sum(agreeing) as agreeing, sum(first) as first, sum(kl) as kl, sum(entropy) as entropy
    from (
        select 1024 * document::bigint + layer as place, positions, agreeing, first, kl, entropy
        from sums
        join documents using (unit)
    )
    group by place
), means as (
    select line, "group", layer, layer / max(layer) over (partition by line) as depth,
        sum(positions)::bigint as positions,
        sum(agreeing) / sum(positions) as agreement,
        cluster_low(agreeing, positions) as low, cluster_high(agreeing, positions) as high,
        sum(first) / sum(positions) as rank_1, sum(kl) / sum(positions) as kl, sum(entropy) / sum(positions) as entropy
    from of_layers
    join (select distinct document, line, "group" from documents) using (document)
    group by line, "group", layer
), sides as (
    from pair_sides(grouped, positions, agreeing)
), differences as (
    select line, layer, 'memorized' as "group", sum(found)::bigint as found,
        fewer_documents(n, m) >= any_value(minimum_documents) as enough,
        sum(x) / sum(n) - sum(y) / sum(m) as difference,
        rate_difference_low(x, n, y, m) as difference_low, rate_difference_high(x, n, y, m) as difference_high
    from sides, parameters
    group by line, layer
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", layer, depth, n, documents, positions, completion_entropy, agreement, low, high, rank_1, kl, entropy,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, difference, null) as difference, if(enough, difference_low, null) as difference_low,
    if(enough, difference_high, null) as difference_high, pair_note("group", found, enough) as note
from means
join totals using (line, "group")
left join differences d using (line, layer, "group")
join labelled(lines) using (line)
order by family, params, model, corpus, sample_rule, sample_window, "group", layer
