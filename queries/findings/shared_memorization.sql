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
-- Key: corpus, model_a, model_b, sample_rule, sample_window, condition_a, condition_b, horizon
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
with parameters as not materialized (select
    32 as horizon       -- bytes that both continuations must hold
), answers as materialized (
    from sharing_sums_at(parameters)
)
select unnest(pair), horizon, coalesce(b.n, 0) as n, coalesce(b.documents, 0) as documents, b.left_out, b.in_both,
    b.only_a, b.only_b, b.in_neither, b.jaccard, b.low, b.high, b.expected_in_both, b.expected_jaccard, t.n as token_n,
    t.in_both as token_in_both, t.jaccard as token_jaccard, t.low as token_low, t.high as token_high,
    t.expected_jaccard as token_expected_jaccard
from (from answers where basis = 'anchor') b
full join (from answers where basis = 'sequence') t using (pair, horizon)
order by all
