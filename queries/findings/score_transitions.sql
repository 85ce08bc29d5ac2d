-- One row is one way from one bin of scores to another, from a model to one of the next size: how many of the same
-- sequences go it.
--
-- Why this number: a rate that grows with size may hide that a larger model loses what a smaller one knew. Each
-- sequence is followed instead. The 25 ways between 5 bins of the score are the matrix; its rows add up to 1. The 26th
-- row, from 'memorized' to 'memorized', is the share of what the smaller model produces verbatim that the larger does
-- as well, by the flag and not by a bin: it stands beside the matrix and is not a part of it.
-- Pairs: a line is the models of one family at one revision with one role to the corpus, miniatures apart. Each model
-- that was measured on the corpus is paired with each of the next larger size in its line: where two models have one
-- size, as Pythia and its -deduped twin do, both are paired with both of the next.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: models whose size is not known; sequences that only one of the two was measured on, so that models of
-- different tokenizers have no row; sequences whose decoding was skipped for either (not_decoded; their score is not
-- known, while 'memorized' is); differences between domains, which are pooled as sampled.
-- Units: scores and shares in [0, 1]. A bin holds its lower end and not its upper one, but the last holds 1. Bins are
-- cut in whole numbers, 5 x n_match against n_tokens, so that 3 of 5 lies in the fourth.
-- Source: arXiv 2603.21658, section 4.1; "more than 90 % stay memorized in the next size" is reported there.
-- Key: model, next_model, corpus, sample_rule, sample_window, condition, next_condition, from_score, to_score
-- Columns:
--   family
--   model           the smaller model
--   miniature
--   params          its number of parameters (see model_sizes)
--   next_model      the larger model
--   next_params     its number of parameters
--   corpus
--   role            of both, 'trained' or 'control'; NULL: not known
--   sample_rule, sample_window
--   condition       of the smaller model, under which it was measured: see `conditions`
--   next_condition  of the larger
--   sequences       sequences both were measured on
--   not_decoded     of these, those whose decoding was skipped for either
--   from_score      bin of the smaller model's score, or 'memorized'
--   to_score        bin of the larger model's score, or 'memorized'
--   n               sequences in from_score
--   documents
--   moved           of n, those in to_score
--   share           moved / n; NULL where n is 0
--   low, high
with numbered as (
    from lines_of(match_sums)
), lines as materialized (
    select *, dense_rank() over (
            partition by corpus, role, sample_rule, sample_window, family, miniature, revision order by params) as size,
        dense_rank() over (
            order by corpus, role, sample_rule, sample_window, family, miniature, revision)::int as "group",
        4 * (row_number() over (
            partition by corpus, role, sample_rule, sample_window, family, miniature, revision order by line)::int - 1
        ) as place
    from labelled(numbered)
    where params is not null
), marks as materialized (      -- a model's four bits of a pattern: 1 to 5 for the bin, 6 for not decoded; memorized
    select line, "group", mark, set_bit(set_bit(set_bit(set_bit(
        none, place, mark & 1), place + 1, (mark >> 1) & 1), place + 2, (mark >> 2) & 1), place + 3, mark >> 3) as bits
    from lines, (select unnest(range(16))::int as mark),
        (select bitstring('0', 1 + 4 * count(*)::int) as none from numbered)
), pairs as materialized (
    select row_number() over () as pair, a.*, b.line as next_line, b.model as next_model, b.params as next_params,
        b.condition as next_condition, b.place as next_place
    from lines a
    join lines b on a."group" = b."group" and b.size = a.size + 1
), measured as (
    select "group", sequence_id, bit_or(bits) as pattern
    from (
        select line, sequence_id, (coalesce(if(n_match = n_tokens, 4, 5 * n_match // n_tokens) + 1, 6)
            + if(memorized, 8, 0))::int as mark
        from on_lines(matches, numbered)
    )
    join marks using (line, mark)
    group by "group", sequence_id
), patterns as (
    select "group", 0 as part, text, pattern from with_text(measured)
), met as materialized (        -- bin: 0 to 4; NULL: not decoded
    select pair, kind, documents, nullif(mark_at(pattern, place) - 1, 5) as bin,
        nullif(mark_at(pattern, next_place) - 1, 5) as next_bin, get_bit(pattern, place + 3) = 1 as memorized,
        get_bit(pattern, next_place + 3) = 1 as next_memorized
    from alike_texts(patterns)
    join pairs using ("group")
    where mark_at(pattern, place) > 0 and mark_at(pattern, next_place) > 0
), kinds as (           -- moved: how many of a text's n sequences go to each bin; bin 5: memorized
    select pair, kind, bin, any_value(documents) as documents, count(*) as n, [
            count(*) filter (next_bin = 0), count(*) filter (next_bin = 1), count(*) filter (next_bin = 2),
            count(*) filter (next_bin = 3), count(*) filter (next_bin = 4)
        ] as moved
    from met
    where bin is not null and next_bin is not null
    group by pair, kind, bin
    union all
    select pair, kind, 5, any_value(documents), count(*), [0, 0, 0, 0, 0, count(*) filter (next_memorized)]
    from met
    where memorized
    group by pair, kind
), ways as (
    select pair, bin, next_bin, sum(documents * n)::bigint as n, sum(documents)::bigint as documents,
        sum(documents * m)::bigint as moved, cluster_low(m, n, w := documents) as low,
        cluster_high(m, n, w := documents) as high
    from (select *, unnest(range(len(moved))) as next_bin, moved[next_bin + 1] as m from kinds)
    group by pair, bin, next_bin
), matrix as (
    select pair, sum(documents)::bigint as sequences,
        coalesce(sum(documents) filter (bin is null or next_bin is null), 0)::bigint as not_decoded,
        unnest(range(26)) as way, least(way // 5, 5) as bin, if(way = 25, 5, way % 5) as next_bin,
        ['[0.0,0.2)', '[0.2,0.4)', '[0.4,0.6)', '[0.6,0.8)', '[0.8,1.0]', 'memorized'] as names
    from met
    group by pair
)
select family, model, miniature, params, next_model, next_params, corpus, role, sample_rule, sample_window, condition,
    next_condition, sequences, not_decoded, names[bin + 1] as from_score, names[next_bin + 1] as to_score,
    coalesce(n, 0) as n, coalesce(documents, 0) as documents, coalesce(moved, 0) as moved, moved / n as share, low, high
from matrix
join pairs using (pair)
left join ways using (pair, bin, next_bin)
order by family, params, model, next_params, next_model, corpus, sample_rule, sample_window, way
