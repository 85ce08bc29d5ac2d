-- One row is one pair of models on one corpus: how far they memorize the same text.
--
-- Why this number: a text that both memorized may be memorable or merely frequent; a pair that overlaps no more than
-- independence would give shares nothing. Equal token counts are different texts across tokenizers, so that all pairs
-- are compared in one way, at anchors and byte by byte: where both continuations begin at the anchor itself and hold
-- `horizon` bytes, reproduced means that these bytes match. Models of one tokenizer are compared by whole sequences
-- too, in the columns token_*: every token of the continuation or not. Independence is taken within each domain and
-- added up, since domains that are easy for all models would look like sharing. A pair stands here only where not both
-- are known to be controls, so models trained on different corpora meet only as trained against control.
-- Interval: 95 %, document-cluster, of the Jaccard index.
-- Leaves out: anchors or sequences that only one model was measured on, and anchors inside a token or with fewer
-- bytes after them than `horizon` (left_out is their share); that prompts of equal token counts hold different bytes.
-- Of several windows of a model on one anchor, the one with the longest prompt counts.
-- Units: shares in [0, 1]; counts of anchors, and in the columns token_* of sequences.
-- Source: docs/method/comparisons.md; Jaccard 1901.
-- Columns:
--   corpus, model_a, role_a, model_b, role_b, sample_rule, sample_window, condition_a, condition_b
--   horizon                 bytes that must match
--   n                       anchors compared
--   documents
--   left_out                share of the anchors that either model was measured on that could not be compared
--   in_both                 reproduced by both
--   only_a                  reproduced by the first alone
--   only_b                  reproduced by the second alone
--   in_neither              reproduced by neither
--   jaccard                 in_both / (in_both + only_a + only_b); NULL where none was reproduced
--   low, high
--   expected_in_both        in_both, were the models independent within each domain; NULL where n is 0
--   expected_jaccard        Jaccard index that goes with it
--   token_n                 sequences compared, all tokens; NULL, as what follows: the tokenizers differ
--   token_in_both           memorized by both
--   token_jaccard           token_in_both / memorized by either; NULL where none was
--   token_low, token_high
--   token_expected_jaccard  Jaccard index, were the models independent within each domain
with parameters as (select
    32 as horizon       -- bytes that both continuations must hold
), numbered as (
    from lines_of(match_sums)
), lines as materialized (
    select *, dense_rank() over (order by corpus, sample_rule, sample_window)::int as "group",
        row_number() over (partition by corpus, sample_rule, sample_window order by line)::int - 1 as place
    from numbered
    left join model_corpora using (model, corpus)
), met as (
    from met_patterns(lines, (select horizon from parameters))
), patterns as (
    select {'basis': basis, 'of': "group"} as "group", domain as part, text, pattern from met
), masks as (
    select bit_or(set_bit(set_bit(none, 4 * place, 1), 4 * place + 1, 1)) as of_judged,
        bit_or(set_bit(set_bit(none, 4 * place + 2, 1), 4 * place + 3, 1)) as of_hit
    from lines, (select bitstring('0', 4 + 4 * max(place)::int) as none from lines)
), members as materialized (    -- judged, hit: places of the bits that a pair is compared by, after that of asked
    select "group".of as "group", "group".basis as basis, if(basis = 'anchor', 1, 0) as judged,
        if(basis = 'anchor', 2, 3) as hit, kind, documents, part, pattern
    from alike_texts(patterns)
), pairs as (
    select "group", a.line as line_a, b.line as line_b, 4 * a.place as place_a, 4 * b.place as place_b,
        {'corpus': a.corpus, 'model_a': a.model, 'role_a': a.role, 'model_b': b.model, 'role_b': b.role,
            'sample_rule': a.sample_rule, 'sample_window': a.sample_window, 'condition_a': a.condition,
            'condition_b': b.condition} as pair
    from lines a
    join lines b using ("group")
    where a.model < b.model and (a.role = 'control' and b.role = 'control') is not true
), patterns_in_all as materialized (        -- whatever texts they are in
    select "group", basis, judged, hit, part, pattern, sum(documents) as w from members group by all
), units as (
    select basis, line, sum(w * get_bit(pattern, 4 * place)) as units
    from patterns_in_all
    join lines using ("group")
    group by basis, line
), sums as (
    select line_a, line_b, basis, sum(met) as met, sum(n) as n, sum(in_a) as in_a, sum(in_b) as in_b,
        sum(in_both) as in_both, sum(in_a + in_b - in_both) as in_either,
        sum(in_a * in_b / nullif(n, 0)) as expected_in_both
    from (
        select line_a, line_b, basis, part, sum(w) as met, coalesce(sum(w) filter (comparable), 0) as n,
            coalesce(sum(w) filter (comparable and a), 0) as in_a,
            coalesce(sum(w) filter (comparable and b), 0) as in_b,
            coalesce(sum(w) filter (comparable and a and b), 0) as in_both
        from (
            select line_a, line_b, basis, part, w, get_bit(pattern, place_a + hit) = 1 as a,
                get_bit(pattern, place_b + hit) = 1 as b,
                get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1 as comparable
            from patterns_in_all
            join pairs using ("group")
            where get_bit(pattern, place_a) = 1 and get_bit(pattern, place_b) = 1
        )
        group by line_a, line_b, basis, part
    )
    group by line_a, line_b, basis
), clusters as (        -- of texts from which either reproduced anything
    select line_a, line_b, basis, cluster_low(in_both, in_either, w := documents) as low,
        cluster_high(in_both, in_either, w := documents) as high
    from (
        select line_a, line_b, basis, kind, any_value(documents) as documents, count(*) as in_either,
            count(*) filter (get_bit(pattern, place_a + hit) = 1 and get_bit(pattern, place_b + hit) = 1) as in_both
        from (from members, masks where bit_count(pattern & of_hit) > 0)
        join pairs using ("group")
        where get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1
            and (get_bit(pattern, place_a + hit) = 1 or get_bit(pattern, place_b + hit) = 1)
        group by line_a, line_b, basis, kind
    )
    group by line_a, line_b, basis
), judgeable as (       -- texts at which both can be compared: what was reproduced does not matter
    select line_a, line_b, basis, sum(documents)::bigint as documents
    from (
        select "group", basis, judged, patterns, sum(documents) as documents
        from (
            select "group", basis, judged, kind, any_value(documents) as documents,
                list_sort(list(distinct pattern & of_judged)) as patterns
            from members, masks
            group by "group", basis, judged, kind
        )
        group by all
    )
    join pairs using ("group")
    where len(list_filter(patterns, lambda pattern:
        get_bit(pattern, place_a + judged) = 1 and get_bit(pattern, place_b + judged) = 1)) > 0
    group by line_a, line_b, basis
), answers as (
    select pair, sums.basis, n::bigint as n, coalesce(documents, 0) as documents,
        1 - n / (a.units + b.units - met) as left_out, in_both::bigint as in_both,
        (in_a - in_both)::bigint as only_a, (in_b - in_both)::bigint as only_b,
        (n - in_either)::bigint as in_neither, in_both / nullif(in_either, 0) as jaccard, low, high, expected_in_both,
        expected_in_both / nullif(in_a + in_b - expected_in_both, 0) as expected_jaccard
    from sums
    join pairs using (line_a, line_b)
    left join clusters using (line_a, line_b, basis)
    left join judgeable using (line_a, line_b, basis)
    join units a on a.line = line_a and a.basis = sums.basis
    join units b on b.line = line_b and b.basis = sums.basis
)
select unnest(pair), horizon, coalesce(b.n, 0) as n, coalesce(b.documents, 0) as documents, b.left_out, b.in_both,
    b.only_a, b.only_b, b.in_neither, b.jaccard, b.low, b.high, b.expected_in_both, b.expected_jaccard, t.n as token_n,
    t.in_both as token_in_both, t.jaccard as token_jaccard, t.low as token_low, t.high as token_high,
    t.expected_jaccard as token_expected_jaccard
from (from answers where basis = 'anchor') b
full join (from answers where basis = 'sequence') t using (pair), parameters
order by all
