-- One row is one pair of models on one corpus: how far they memorize the same text.
--
-- Why this number: a text that both memorized may be memorable or merely frequent; a pair that overlaps no more than
-- independence would give shares nothing. Models with one tokenizer are compared sequence by sequence: both memorized
-- or not. Across tokenizers equal token counts are different texts, so they are compared at anchors, byte by byte:
-- where both continuations begin at the anchor itself and hold `horizon` bytes, reproduced means that these bytes
-- match. Independence is taken within each domain and added up, since domains that are easy for all models would look
-- like sharing. A pair stands here only where not both are known to be controls, so models trained on different
-- corpora meet only as trained against control.
-- Interval: 95 %, document-cluster, of the Jaccard index.
-- Leaves out: anchors or sequences that only one model was measured on, and anchors inside a token or with fewer
-- bytes after them than `horizon` (left_out is their share); that prompts of equal token counts hold different bytes.
-- Of several windows of a model on one anchor, the one with the longest prompt counts.
-- Units: shares in [0, 1]; counts of sequences or anchors.
-- Source: design.md, "Across tokenizers"; Jaccard 1901.
-- Columns:
--   corpus             corpus of the text
--   model_a            first model of the pair, in alphabetical order
--   role_a             'trained' or 'control'; NULL: not known
--   model_b            second model
--   role_b             'trained' or 'control'; NULL: not known
--   basis              'sequence' (same tokenizer) or 'anchor' (across tokenizers)
--   horizon            bytes that must match; NULL where the basis is the sequence
--   n                  sequences or anchors compared
--   documents          documents they lie in
--   left_out           share of what either model was measured on that could not be compared
--   in_both            reproduced by both
--   only_a             reproduced by the first alone
--   only_b             reproduced by the second alone
--   in_neither         reproduced by neither
--   jaccard            in_both / (in_both + only_a + only_b); NULL where none was reproduced
--   low                lower end of its interval
--   high               upper end of its interval
--   expected_in_both   in_both, were the models independent within each domain; NULL where n is 0
--   expected_jaccard   Jaccard index that goes with it
with parameters as (select
    32 as horizon       -- bytes that both continuations must hold, across tokenizers
), measured as (
    select model, corpus, domain, role, tokenizer, sequence_id, anchor_id, prefix_tokens,
        coalesce(document_id, sequence_id) as document, memorized,
        coalesce(byte_cut = anchor and byte_end - byte_cut >= horizon, false)
            and matched_bytes is not null as comparable,
        comparable and matched_bytes >= horizon as reproduced
    from (select model, corpus, domain, sequence_id, memorized, matched_bytes from matches)
    join sequences using (sequence_id, corpus, domain)
    left join model_corpora using (model, corpus), parameters
), units as (
    select model, corpus, domain, role, tokenizer, document, 'sequence' as basis, sequence_id as unit,
        true as comparable, memorized as reproduced
    from measured
    union all
    select model, corpus, domain, role, tokenizer, document, 'anchor' as basis, anchor_id as unit,
        comparable, reproduced
    from measured
    where anchor_id is not null
    qualify row_number() over (partition by model, anchor_id order by prefix_tokens desc, sequence_id) = 1
), lines as materialized (      -- joining and grouping by a number instead of names is three times as fast
    select *, row_number() over ()::int as line
    from (select model, corpus, role, tokenizer, basis, count(*) as units from units group by all)
), numbered as materialized (
    select line, unit, domain, document, comparable, reproduced
    from units
    join lines l using (model, corpus, tokenizer, basis)
), pairs as (
    select a.line as line_a, b.line as line_b, a.corpus, a.basis, a.model as model_a, a.role as role_a,
        b.model as model_b, b.role as role_b, a.units + b.units as units
    from lines a
    join lines b using (corpus, basis)
    where a.model < b.model and (basis = 'sequence') = (a.tokenizer = b.tokenizer)
        and (a.role = 'control' and b.role = 'control') is not true
), documents as (
    select line_a, line_b, a.document, any_value(a.domain) as domain, count(*) as met,
        count(*) filter (a.comparable and b.comparable) as n,
        count(*) filter (a.comparable and b.comparable and a.reproduced) as in_a,
        count(*) filter (a.comparable and b.comparable and b.reproduced) as in_b,
        count(*) filter (a.comparable and b.comparable and a.reproduced and b.reproduced) as in_both
    from numbered a
    join numbered b using (unit)
    join pairs on line_a = a.line and line_b = b.line
    group by line_a, line_b, a.document
), sums as (
    select line_a, line_b, sum(met) as met, sum(n) as n, count(*) filter (n > 0) as documents,
        sum(in_a) as in_a, sum(in_b) as in_b, sum(in_both) as in_both, sum(in_a + in_b - in_both) as in_either,
        cluster_low(in_both, in_a + in_b - in_both) as low, cluster_high(in_both, in_a + in_b - in_both) as high
    from documents
    group by line_a, line_b
), independence as (
    select line_a, line_b, sum(expected) as expected_in_both
    from (
        select line_a, line_b, domain, sum(in_a) * sum(in_b) / nullif(sum(n), 0) as expected
        from documents
        group by line_a, line_b, domain
    )
    group by line_a, line_b
)
select corpus, model_a, role_a, model_b, role_b, basis, if(basis = 'anchor', horizon, null) as horizon,
    n::bigint as n, documents, 1 - n / (units - met) as left_out, in_both::bigint as in_both,
    (in_a - in_both)::bigint as only_a, (in_b - in_both)::bigint as only_b, (n - in_either)::bigint as in_neither,
    in_both / nullif(in_either, 0) as jaccard, low, high,
    expected_in_both, expected_in_both / nullif(in_a + in_b - expected_in_both, 0) as expected_jaccard
from sums
join independence using (line_a, line_b)
join pairs using (line_a, line_b), parameters
order by corpus, model_a, model_b
