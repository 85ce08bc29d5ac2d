-- One row is one layer of one model for one group of sequences: how near its prediction is to the final one.
--
-- Why this number: it asks when the model has made up its mind, whether or not the mind is right: the likeliest token
-- of the layer (logit lens) is the last layer's. A shared scale of logits cannot change it; the divergence and the
-- entropy beside it say how near the whole prediction is, and how certain. `difference`, of pairs of like completion
-- entropy (groups_of in views/groups.sql), tells memory from mere certainty.
-- Interval: 95 %, document-cluster (effective_n and rate_difference_low in macros.sql), of the agreement.
-- Leaves out: differences between positions and between domains, which are pooled; agreement that is lost again in a
-- later layer counts here (decoding_depth counts what stays).
-- Units: shares in [0, 1]; divergence and entropy in nats; depth 0 is after the embedding, 1 after the last block.
-- Source: arXiv 2603.21658, section 4.5; nostalgebraist 2020 (logit lens); Belrose et al. 2023, arXiv 2303.08112.
-- Key: model, corpus, sample_rule, sample_window, condition, group, layer
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, group, layer, depth, n,
--   documents, positions
--   completion_entropy  mean completion entropy of the n sequences
--   agreement           share of positions whose likeliest token is the final one
--   low, high
--   rank_1              share of positions whose likeliest token is the target
--   kl                  mean Kullback-Leibler divergence from the last layer's prediction
--   entropy             mean entropy of the layer's prediction
--   pairs, paired_share
--   difference          of the pairs, agreement of the memorized less that of the matched; NULL: see note
--   difference_low, difference_high, note
with parameters as (select
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), shown as (
    select *, fewer >= minimum_documents as enough
    from layer_means, parameters
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", layer, depth, n, documents, positions, completion_entropy, agreement, agreement_low as low,
    agreement_high as high, rank_1, kl, entropy, pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, agreement_difference, null) as difference, if(enough, agreement_difference_low, null) as difference_low,
    if(enough, agreement_difference_high, null) as difference_high, pair_note("group", found, enough) as note
from labelled(shown)
order by family, params, model, corpus, sample_rule, sample_window, "group", layer
