-- One row is one group of sequences under one model: how deep in the model the next token is settled.
--
-- Why this number: settled is the first layer from which the likeliest token (logit lens) stays the model's own final
-- one, as a share of the depth. It needs no threshold and is the same under any scale of the logits; a fixed
-- probability is neither, and may order models the other way round once states are normalised. The threshold measure
-- stands beside it because studies report it: the first layer at which the target's probability passes 0.5.
-- `difference`, of pairs of like completion entropy (groups_of in views/groups.sql), tells memory from mere certainty.
-- Interval: 95 %, document-cluster (effective_n, cluster_margin and difference_margin in macros.sql): neither the
-- positions of a sequence nor the sequences of a document are independent.
-- Leaves out: whether the final token is right; differences between positions and between domains, which are pooled.
-- The mean depth of passing is over the positions that ever pass: read it with the share that never does.
-- Units: depths are shares of the blocks: 0 after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; Belrose et al. 2023, arXiv 2303.08112.
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, group, n_layers, n,
--   documents, positions
--   entropy        mean completion entropy of the n sequences
--   depth          mean depth at which the likeliest token is settled
--   low            lower end of its interval; 0: one document, or all alike
--   high           upper end of its interval; 1: one document, or all alike
--   quartile_1     depth by which a quarter of the positions is settled
--   quartile_2     depth by which half of them is
--   quartile_3     depth by which three quarters are
--   passing_depth  mean depth at which the target passes the threshold; NULL: it never does
--   passing_low    lower end of its interval; 0: one document, or all alike
--   passing_high   upper end of its interval; 1: one document, or all alike
--   never_passes   share of positions at which no layer passes
--   never_low, never_high, pairs, paired_share
--   difference     of the pairs, mean depth of the memorized less that of the matched; NULL: see note
--   difference_low, difference_high, note
with parameters as (select
    0.5 as threshold,           -- probability of the target that counts as passed, when exceeded
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), sequences as materialized (
    from layer_sequences
), lines as (
    select distinct line, model, corpus, sample_rule, sample_window, condition from sequences
), units as (
    select unit, line, text, memorized, pair is not null as has_pair, count(*) as n, sum(entropy) as entropy,
        count(entropy) as with_entropy
    from sequences
    group by all
), positions as (
    select unit, first_layer, len(target_probability) - 1 as blocks,
        list_position(list_transform(target_probability, lambda p: p > threshold), true) - 1 as passing
    from stored.layer_tokens
    join (select model, condition, sequence_id, unit from sequences) using (model, condition, sequence_id),
        parameters
), sums as (
    select unit, first_layer, any_value(blocks) as blocks, count(*) as positions, count(passing) as passes,
        coalesce(sum(passing / blocks), 0) as passing
    from positions
    group by unit, first_layer
), grouped as (
    select *, null as layer
    from units
    join (
        select unit, sum(positions) as positions, sum(positions * first_layer / blocks) as depth,
            sum(passes) as passes, sum(passing) as passing
        from sums
        group by unit
    ) using (unit)
), counted as (     -- depths are few
    select line, "group", first_layer / blocks as depth, sum(positions) as positions
    from (select *, unnest(groups_named(memorized, has_pair)) as "group" from sums join units using (unit))
    group by line, "group", depth
), quartiles as (
    select line, "group", min(depth) filter (so_far >= 0.25 * whole) as quartile_1,
        min(depth) filter (so_far >= 0.5 * whole) as quartile_2,
        min(depth) filter (so_far >= 0.75 * whole) as quartile_3
    from (
        select line, "group", depth, sum(positions) over (partition by line, "group" order by depth) as so_far,
            sum(positions) over (partition by line, "group") as whole
        from counted
    )
    group by line, "group"
), means as (
    select line, "group", sum(n)::bigint as n, count(*) as documents, sum(positions)::bigint as positions,
        sum(entropy) / nullif(sum(with_entropy), 0) as entropy,
        sum(depth) / sum(positions) as depth, cluster_margin(depth, positions) as margin,
        sum(passing) / nullif(sum(passes), 0) as passing, cluster_margin(passing, passes) as passing_margin,
        sum(positions - passes) / sum(positions) as never_passes,
        cluster_low(positions - passes, positions) as never_low,
        cluster_high(positions - passes, positions) as never_high
    from (
        select line, "group", text, sum(n) as n, sum(positions) as positions, sum(entropy) as entropy,
            sum(with_entropy) as with_entropy, sum(depth) as depth, sum(passes) as passes, sum(passing) as passing
        from (select *, unnest(groups_named(memorized, has_pair)) as "group" from grouped)
        group by line, "group", text
    )
    group by line, "group"
), sides as (
    from pair_sides(grouped, positions, depth)
), differences as (
    select line, 'memorized' as "group", sum(found)::bigint as found,
        fewer_documents(n, m) >= any_value(minimum_documents) as enough,
        sum(x) / sum(n) - sum(y) / sum(m) as difference, difference_margin(x, n, y, m) as margin
    from sides, parameters
    group by line
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", n_layers, n, documents, positions, entropy,
    depth,      -- greatest and least pass over NULL, which leaves 0 to 1
    greatest(0, depth - means.margin) as low, least(1, depth + means.margin) as high,
    quartile_1, quartile_2, quartile_3,
    passing as passing_depth, if(passing is null, null, greatest(0, passing - passing_margin)) as passing_low,
    if(passing is null, null, least(1, passing + passing_margin)) as passing_high,
    never_passes, never_low, never_high,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, difference, null) as difference, if(enough, difference - d.margin, null) as difference_low,
    if(enough, difference + d.margin, null) as difference_high, pair_note("group", found, enough) as note
from means
join quartiles using (line, "group")
left join differences d using (line, "group")
join labelled(lines) using (line)
join (select model, n_layers from models) using (model)
order by family, params, model, corpus, sample_rule, sample_window, "group"
