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
), measured as (
    select model, corpus, sample_rule, sample_window, condition, domain, tokenizer, sequence_id, anchor_id,
        prefix_tokens, text, memorized, coalesce(reach >= horizon, false) as comparable,
        comparable and matched_bytes >= horizon as reproduced
    from anchored_matches, parameters
), units as (
    select model, corpus, sample_rule, sample_window, condition, domain, tokenizer, text, 'token' as basis,
        sequence_id as unit, true as comparable, memorized as reproduced
    from measured
    union all
    select model, corpus, sample_rule, sample_window, condition, domain, tokenizer, text, 'byte' as basis,
        anchor_id as unit, comparable, reproduced
    from measured
    where anchor_id is not null
    qualify row_number() over (
        partition by model, sample_rule, sample_window, anchor_id order by prefix_tokens desc, sequence_id
    ) = 1
), lines as materialized (      -- joining and grouping by a number instead of names is three times as fast
    select *, row_number() over ()::int as line
    from (
        select model, corpus, sample_rule, sample_window, condition, tokenizer, basis, count(*) as units
        from units
        group by all
    )
    left join model_corpora using (model, corpus)
), numbered as materialized (
    select line, unit, domain, text, comparable, reproduced
    from units u
    join lines l on l.model = u.model and l.corpus = u.corpus and l.tokenizer = u.tokenizer and l.basis = u.basis
        and l.sample_rule is not distinct from u.sample_rule and l.sample_window is not distinct from u.sample_window
), pairs as (
    select a.line as line_a, b.line as line_b, a.basis, a.units + b.units as units,
        {'corpus': a.corpus, 'model_a': a.model, 'role_a': a.role, 'model_b': b.model, 'role_b': b.role,
            'sample_rule': a.sample_rule, 'sample_window': a.sample_window, 'condition_a': a.condition,
            'condition_b': b.condition} as pair
    from lines a
    join lines b on a.corpus = b.corpus and a.basis = b.basis and a.model < b.model
        and a.sample_rule is not distinct from b.sample_rule and a.sample_window is not distinct from b.sample_window
    where (a.basis = 'byte' or a.tokenizer = b.tokenizer) and (a.role = 'control' and b.role = 'control') is not true
), texts as (
    select line_a, line_b, a.domain, a.text, count(*) as met,
        count(*) filter (a.comparable and b.comparable) as n,
        count(*) filter (a.comparable and b.comparable and a.reproduced) as in_a,
        count(*) filter (a.comparable and b.comparable and b.reproduced) as in_b,
        count(*) filter (a.comparable and b.comparable and a.reproduced and b.reproduced) as in_both
    from numbered a
    join numbered b using (unit)
    join pairs on line_a = a.line and line_b = b.line
    group by line_a, line_b, a.domain, a.text
), sums as (
    select line_a, line_b, sum(met) as met, sum(n) as n, count(*) filter (n > 0) as documents,
        sum(in_a) as in_a, sum(in_b) as in_b, sum(in_both) as in_both, sum(in_a + in_b - in_both) as in_either,
        cluster_low(in_both, in_a + in_b - in_both) as low, cluster_high(in_both, in_a + in_b - in_both) as high
    from (
        select line_a, line_b, text, sum(met) as met, sum(n) as n, sum(in_a) as in_a, sum(in_b) as in_b,
            sum(in_both) as in_both
        from texts
        group by line_a, line_b, text
    )
    group by line_a, line_b
), independence as (
    select line_a, line_b, sum(expected) as expected_in_both
    from (
        select line_a, line_b, domain, sum(in_a) * sum(in_b) / nullif(sum(n), 0) as expected
        from texts
        group by line_a, line_b, domain
    )
    group by line_a, line_b
), answers as (
    select pair, basis, n::bigint as n, documents, 1 - n / (units - met) as left_out, in_both::bigint as in_both,
        (in_a - in_both)::bigint as only_a, (in_b - in_both)::bigint as only_b, (n - in_either)::bigint as in_neither,
        in_both / nullif(in_either, 0) as jaccard, low, high, expected_in_both,
        expected_in_both / nullif(in_a + in_b - expected_in_both, 0) as expected_jaccard
    from sums
    join independence using (line_a, line_b)
    join pairs using (line_a, line_b)
)
select unnest(pair), horizon, coalesce(b.n, 0) as n, coalesce(b.documents, 0) as documents, b.left_out, b.in_both,
    b.only_a, b.only_b, b.in_neither, b.jaccard, b.low, b.high, b.expected_in_both, b.expected_jaccard, t.n as token_n,
    t.in_both as token_in_both, t.jaccard as token_jaccard, t.low as token_low, t.high as token_high,
    t.expected_jaccard as token_expected_jaccard
from (from answers where basis = 'byte') b
full join (from answers where basis = 'token') t using (pair), parameters
order by all
