-- One row is one layer of one model for one group of sequences: the probability that the target would have, were the
-- prediction made there.
--
-- Why this number: the final norm and the unembedding read the residual stream after each block (logit lens). Whether
-- memorized text rises earlier than other text, or bursts at the end like it, is seen only group beside group;
-- `difference`, of pairs of like completion entropy (groups_of in views/groups.sql), tells memory from mere certainty.
-- Interval: 95 %, document-cluster (effective_n, cluster_margin and difference_margin in macros.sql): neither the
-- positions of a sequence nor the sequences of a document are independent.
-- Leaves out: differences between positions and between domains, which are pooled; that early layers do not speak the
-- unembedding's language, so that a low probability there is not lack of information. The share above a threshold
-- depends on the norm; decoding_depth has a measure that does not.
-- Units: probabilities and shares in [0, 1]; depth 0 is after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; nostalgebraist 2020 (logit lens).
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, group, layer, depth, n,
--   documents, positions
--   entropy      mean completion entropy of the n sequences
--   probability  mean probability of the target
--   low          lower end of its interval; 0: one document, or all alike
--   high         upper end of its interval; 1: one document, or all alike
--   confident    share of positions whose target is above the threshold
--   confident_low, confident_high, pairs, paired_share
--   difference   of the pairs, mean probability of the memorized less the matched; NULL: see note
--   difference_low, difference_high, note
with parameters as (select
    0.5 as threshold,           -- probability above which a target counts as decided
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), sequences as materialized (
    from layer_sequences
), lines as (
    select distinct line, model, corpus, sample_rule, sample_window, condition from sequences
), units as materialized (
    select unit, line, text, memorized, pair is not null as has_pair, count(*)::double as n, sum(entropy) as entropy,
        count(entropy) as with_entropy
    from sequences
    group by all
), sums as (       -- place: unit and layer, since one number is grouped by faster than two
    select place // 1024 as unit, place % 1024 as layer, count(*)::double as positions,
        sum(probability::double) as probability,
        count(*) filter (probability > threshold)::double as confident
    from (
        select unnest(range(1024 * unit::bigint, 1024 * unit::bigint + len(target_probability))) as place,
            unnest(target_probability) as probability
        from stored.layer_tokens
        join (select model, condition, sequence_id, unit from sequences) using (model, condition, sequence_id)
    ), parameters
    group by place
), grouped as (
    from sums
    join units using (unit)
), documents as materialized (
    select *, dense_rank() over (order by line, "group", text)::int as document
    from (select *, unnest(groups_named(memorized, has_pair)) as "group" from units)
), totals as (
    select line, "group", sum(n)::bigint as n, count(distinct document) as documents,
        sum(entropy) / nullif(sum(with_entropy), 0) as entropy
    from documents
    group by line, "group"
), of_layers as (
    select place // 1024 as document, place % 1024 as layer, sum(positions) as positions,
        sum(probability) as probability, sum(confident) as confident
    from (
        select 1024 * document::bigint + layer as place, positions, probability, confident
        from sums
        join documents using (unit)
    )
    group by place
), means as (
    select line, "group", layer, layer / max(layer) over (partition by line) as depth,
        sum(positions)::bigint as positions,
        sum(probability) / sum(positions) as mean, cluster_margin(probability, positions) as margin,
        sum(confident) / sum(positions) as confident,
        cluster_low(confident, positions) as confident_low, cluster_high(confident, positions) as confident_high
    from of_layers
    join (select distinct document, line, "group" from documents) using (document)
    group by line, "group", layer
), sides as (
    from pair_sides(grouped, positions, probability)
), differences as (
    select line, layer, 'memorized' as "group", sum(found)::bigint as found,
        fewer_documents(n, m) >= any_value(minimum_documents) as enough,
        sum(x) / sum(n) - sum(y) / sum(m) as difference, difference_margin(x, n, y, m) as margin
    from sides, parameters
    group by line, layer
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", layer, depth, n, documents, positions, entropy,
    mean as probability,    -- greatest and least pass over NULL, which leaves 0 to 1
    greatest(0, mean - m.margin) as low, least(1, mean + m.margin) as high, confident, confident_low, confident_high,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, difference, null) as difference, if(enough, difference - d.margin, null) as difference_low,
    if(enough, difference + d.margin, null) as difference_high, pair_note("group", found, enough) as note
from means m
join totals using (line, "group")
left join differences d using (line, layer, "group")
join labelled(lines) using (line)
order by family, params, model, corpus, sample_rule, sample_window, "group", layer
