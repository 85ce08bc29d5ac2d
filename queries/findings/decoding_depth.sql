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
-- Key: model, corpus, sample_rule, sample_window, condition, group
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
with parameters as not materialized (select
    0.5 as threshold,           -- probability of the target that counts as passed, when exceeded
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), shown as (
    select *, fewer >= minimum_documents as enough
    from depth_means_at(parameters), (select minimum_documents from parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    "group", n_layers, n, documents, positions, entropy,
    depth,      -- greatest and least pass over NULL, which leaves 0 to 1
    greatest(0, depth - margin) as low, least(1, depth + margin) as high,
    quartile_1, quartile_2, quartile_3,
    passing as passing_depth, if(passing is null, null, greatest(0, passing - passing_margin)) as passing_low,
    if(passing is null, null, least(1, passing + passing_margin)) as passing_high,
    never_passes, never_low, never_high,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    if(enough, difference, null) as difference, if(enough, difference - difference_margin, null) as difference_low,
    if(enough, difference + difference_margin, null) as difference_high, pair_note("group", found, enough) as note
from labelled(shown)
join (select model, n_layers from models) using (model)
order by family, params, model, corpus, sample_rule, sample_window, "group"
