-- Layer by layer: the lists of `layer_tokens` and `layer_similarity`, one row for each of their values, and what is added
-- up over them.

-- One row is one layer at one continuation position of one row of `layer_tokens`. layer: 0 after the embedding, l after
-- block l; depth: layer / number of blocks.
create or replace view layer_positions as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, position, target, first_layer,
        unnest(range(len(top1))) as layer, layer / (len(top1) - 1) as depth,
        top1[layer + 1] as top1, target_probability[layer + 1] as target_probability,
        target_rank[layer + 1] as target_rank, entropy[layer + 1] as entropy, kl_to_final[layer + 1] as kl_to_final
    from layer_tokens;

-- One row is one layer of one row of `layer_similarity`.
create or replace view similarity_layers as
    select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, part,
        unnest(range(len(cosine))) as layer, layer / (len(cosine) - 1) as depth,
        cosine[layer + 1] as cosine, relative_l2[layer + 1] as relative_l2
    from layer_similarity;

-- What findings say of `layer_tokens` is computed once for a model and a corpus and kept beside the lake (sums.py): of ten
-- million positions with a list for each layer remain some thousand rows.

-- One row is one sequence of `layer_tokens`, as in sequences_of. unit: a number for sequences of one text that are of
-- the same groups, so that they are added up before they are put into groups. units_of(sequences): of a CTE that has
-- them, one row is one unit.
create or replace view layer_units as
    select *, dense_rank() over (order by line, text, memorized, pair is null)::int as unit
    from sequences_of('layers');
create or replace macro units_of(sequences) as table
    select unit, line, text, memorized, pair is not null as has_pair, count(*)::double as n, sum(entropy) as entropy,
        count(entropy) as with_entropy
    from query_table(sequences)
    group by all;

-- pair_sides(measured, units, total): of a CTE of that name with a row for each layer of each of `units_of`, which has
-- so many units that add up to `total`: one row is one layer and one text. found: its memorized sequences that stand in
-- a pair; n, x: units and totals of these; m, y: of the matched. What difference_margin and rate_difference_low take.
create or replace macro pair_sides(measured, units, total) as table
    select line, layer, text, coalesce(sum(n) filter (memorized), 0) as found,
        sum(if(memorized, units, 0)) as n, sum(if(memorized, total, 0)) as x,
        sum(if(memorized, 0, units)) as m, sum(if(memorized, 0, total)) as y
    from query_table(measured)
    where has_pair
    group by line, layer, text;

-- layer_means_above(above): one row is one layer of one model for one group of sequences, columns as
-- in layer_probability and layer_agreement. confident: share of positions whose target's probability is `above`.
-- *_margin: half the width of an interval; found: memorized sequences that stand in a pair; fewer: documents of the side
-- that has fewer; *_difference: of the pairs, memorized less matched.
create or replace macro layer_means_above(above) as table
    with sequences as materialized (
        from layer_units
    ), units as materialized (
        from units_of(sequences)
    ), sums as (        -- place: unit and layer, since one number is grouped by faster than two
        select place // 1024 as unit, place % 1024 as layer, count(*)::double as positions,
            sum(probability::double) as probability, count(*) filter (probability > above)::double as confident,
            count(*) filter (top1 = final_top1)::double as agreeing, count(*) filter (top1 = target)::double as first,
            sum(kl::double) as kl, sum(entropy::double) as layer_entropy
        from (
            select target::int as target, top1[-1] as final_top1,
                unnest(range(1024 * unit::bigint, 1024 * unit::bigint + len(top1))) as place, unnest(top1) as top1,
                unnest(target_probability) as probability, unnest(kl_to_final) as kl, unnest(entropy) as entropy
            from layer_tokens
            join (select model, condition, sequence_id, unit from sequences) using (model, condition, sequence_id)
        )
        group by place
    ), measured as materialized (
        from sums
        join units using (unit)
    ), grouped as (
        select line, "group", text, layer, sum(n) as n, sum(entropy) as entropy, sum(with_entropy) as with_entropy,
            sum(positions) as positions, sum(probability) as probability, sum(confident) as confident,
            sum(agreeing) as agreeing, sum(first) as first, sum(kl) as kl, sum(layer_entropy) as layer_entropy
        from (select *, unnest(groups_named(memorized, has_pair)) as "group" from measured)
        group by line, "group", text, layer
    ), means as (
        select line, "group", layer, sum(n)::bigint as n, count(*) as documents, sum(positions)::bigint as positions,
            sum(entropy) / nullif(sum(with_entropy), 0) as completion_entropy,
            sum(probability) / sum(positions) as probability,
            cluster_margin(probability, positions) as probability_margin,
            sum(confident) / sum(positions) as confident, cluster_low(confident, positions) as confident_low,
            cluster_high(confident, positions) as confident_high,
            sum(agreeing) / sum(positions) as agreement, cluster_low(agreeing, positions) as agreement_low,
            cluster_high(agreeing, positions) as agreement_high,
            sum(first) / sum(positions) as rank_1, sum(kl) / sum(positions) as kl,
            sum(layer_entropy) / sum(positions) as entropy
        from grouped
        group by line, "group", layer
    ), probabilities as (
        select line, layer, 'memorized' as "group", sum(found)::bigint as found, fewer_documents(n, m) as fewer,
            sum(x) / sum(n) - sum(y) / sum(m) as probability_difference,
            difference_margin(x, n, y, m) as difference_margin
        from pair_sides(measured, positions, probability)
        group by line, layer
    ), agreements as (
        select line, layer, 'memorized' as "group", sum(x) / sum(n) - sum(y) / sum(m) as agreement_difference,
            rate_difference_low(x, n, y, m) as agreement_difference_low,
            rate_difference_high(x, n, y, m) as agreement_difference_high
        from pair_sides(measured, positions, agreeing)
        group by line, layer
    )
    select model, corpus, sample_rule, sample_window, condition, above::double as threshold, means.* exclude (line),
        layer / max(layer) over (partition by line) as depth, found, fewer, probability_difference,
        difference_margin, agreement_difference, agreement_difference_low, agreement_difference_high
    from means
    left join probabilities using (line, layer, "group")
    left join agreements using (line, layer, "group")
    join (select distinct line, model, corpus, sample_rule, sample_window, condition from sequences) using (line);

-- depth_means_above(above): one row is one model and one group of sequences, columns as in
-- decoding_depth, others as above. passing: the first layer at which the target's probability is `above`.
create or replace macro depth_means_above(above) as table
    with sequences as materialized (
        from layer_units
    ), units as (
        from units_of(sequences)
    ), sums as (
        select unit, first_layer, any_value(blocks) as blocks, count(*) as positions, count(passing) as passes,
            coalesce(sum(passing / blocks), 0) as passing
        from (
            select unit, first_layer, len(target_probability) - 1 as blocks,
                list_position(list_transform(target_probability, lambda p: p > least), true) - 1 as passing
            from layer_tokens
            join (select model, condition, sequence_id, unit from sequences) using (model, condition, sequence_id),
                (select above as least)
        )
        group by unit, first_layer
    ), measured as (
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
            from (select *, unnest(groups_named(memorized, has_pair)) as "group" from measured)
            group by line, "group", text
        )
        group by line, "group"
    ), differences as (
        select line, 'memorized' as "group", sum(found)::bigint as found, fewer_documents(n, m) as fewer,
            sum(x) / sum(n) - sum(y) / sum(m) as difference, difference_margin(x, n, y, m) as difference_margin
        from pair_sides(measured, positions, depth)
        group by line
    )
    select model, corpus, sample_rule, sample_window, condition, above::double as threshold, means.* exclude (line),
        quartile_1, quartile_2, quartile_3, found, fewer, difference, difference_margin
    from means
    join quartiles using (line, "group")
    left join differences using (line, "group")
    join (select distinct line, model, corpus, sample_rule, sample_window, condition from sequences) using (line);

-- What is kept of these (see kept_at), and what they are at the threshold of a table of parameters.
create or replace view layer_means as
    from layer_means_above(kept_at().threshold);
create or replace view depth_means as
    from depth_means_above(kept_at().threshold);
create or replace macro layer_means_at(given) as table
    from layer_means
    semi join query_table(given) using (threshold)
    union all
    select m.*
    from layer_means_above((select threshold from query_table(given))) m, query_table(given) p
    where p.threshold <> kept_at().threshold;
create or replace macro depth_means_at(given) as table
    from depth_means
    semi join query_table(given) using (threshold)
    union all
    select m.*
    from depth_means_above((select threshold from query_table(given))) m, query_table(given) p
    where p.threshold <> kept_at().threshold;

-- output_means_within(share): one row is one short-circuited block and one block at or after it, under one model on one
-- corpus, columns as in output_difference. within: a difference may be over its bound by that `share` of it, which is
-- `tolerance`. margin: half the width of the interval.
create or replace macro output_means_within(share) as table
    with blocks as (
        select model, corpus, domain, sample_rule, sample_window, condition, sequence_id, first_block,
            output_difference, output_bound
        from block_deltas
        join (select model, corpus, domain, sequence_id, memorized as known from matches)
            using (model, corpus, domain, sequence_id)
        left join model_corpora using (model, corpus)
        where first_block = last_block and (role = 'control' or known)
    ), lines as materialized (
        from lines_of(blocks)
    ), placed as (
        from on_lines(blocks, lines)
    ), entries as (
        select line, first_block as block, text, unnest(range(first_block, len(output_difference)))::int as after_block,
            output_difference[after_block + 1]::double as difference, output_bound[after_block + 1]::double as bound
        from with_text(placed)
    ), documents as (
        select line, block, after_block, text,
            count(*) as n, sum(difference) as difference,
            count(bound) as bounded, sum(bound) as bound,
            sum(ln(bound / difference)) filter (bound > 0 and difference > 0) as log_slack,
            count(*) filter (bound > 0 and difference > 0) as n_slack,
            count(*) filter (difference <= bound * (1 + share)) as within
        from entries
        group by all
    )
    select model, corpus, sample_rule, sample_window, condition, share::double as tolerance, m.* exclude (line)
    from (
        select line, block, after_block::bigint as after_block, sum(n)::bigint as n, count(*) as documents,
            sum(difference) / sum(n) as difference, cluster_margin(difference, n) as margin,
            sum(bounded)::bigint as bounded, sum(bound) / nullif(sum(bounded), 0) as bound,
            exp(sum(log_slack) / nullif(sum(n_slack), 0)) as slack, sum(within) / nullif(sum(bounded), 0) as within
        from documents
        group by line, block, after_block
    ) m
    join lines using (line);
create or replace view output_means as
    from output_means_within(kept_at().tolerance);
create or replace macro output_means_at(given) as table
    from output_means
    semi join query_table(given) using (tolerance)
    union all
    select m.*
    from output_means_within((select tolerance from query_table(given))) m, query_table(given) p
    where p.tolerance <> kept_at().tolerance;
