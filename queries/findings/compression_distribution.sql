-- One row is one length of prompt under one model on one corpus: for how many of the sequences it memorized it is the
-- shortest that calls up the continuation.
--
-- Why this number: a mean hides whether texts are alike. The whole distribution, lengths that no sequence has included,
-- shows those that a token or two call up beside those that need all of their prompt.
-- Leaves out: differences between domains, which are pooled, each with as many memorized sequences as were found in it
-- (prompt_compression has domains and intervals). `suffices` may fall below `reached`: a longer prompt can fail.
-- Units: lengths are tokens, ratio and shares are in [0, 1].
-- Source: arXiv 2603.21658, section 4.2.
-- Key: model, corpus, sample_rule, sample_window, condition, window, prefix_tokens, kept
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, window
--   prefix_tokens  tokens of the whole prompt
--   kept           tokens that were kept, from 1 to prefix_tokens
--   ratio          kept / prefix_tokens
--   sequences      sequences whose shortest prompt this is
--   n              memorized sequences, over all lengths
--   share          sequences / n
--   reached        share of them whose shortest prompt is this or shorter
--   suffices       share of them that this very length calls up
with lengths as (
    select model, corpus, sample_rule, sample_window, condition, "window", prefix_tokens, kept, count(*) as n,
        count(*) filter (kept = shortest) as sequences, share(success) as suffices
    from prompt_lengths
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, "window",
    prefix_tokens, kept, kept / prefix_tokens as ratio, sequences, n, sequences / n as share,
    sum(sequences) over up_to / n as reached, suffices
from labelled(lengths)
window up_to as (
    partition by model, corpus, sample_rule, sample_window, condition, "window", prefix_tokens order by kept
)
order by family, params, model, corpus, sample_rule, sample_window, "window" desc, prefix_tokens, kept
