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
-- Key: model, corpus, sample_rule, sample_window, condition, group, layer
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
with parameters as not materialized (select
    0.5 as threshold,           -- probability above which a target counts as decided
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), shown as (
    select *, fewer >= minimum_documents as enough
    from layer_means_at(parameters), (select minimum_documents from parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", layer, depth, n, documents, positions, completion_entropy as entropy,
    probability,    -- greatest and least pass over NULL, which leaves 0 to 1
    greatest(0, probability - probability_margin) as low, least(1, probability + probability_margin) as high,
    confident, confident_low, confident_high, pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, probability_difference, null) as difference,
    if(enough, probability_difference - difference_margin, null) as difference_low,
    if(enough, probability_difference + difference_margin, null) as difference_high,
    pair_note("group", found, enough) as note
from labelled(shown)
order by family, params, model, corpus, sample_rule, sample_window, "group", layer
