-- One row is one short-circuited block and one block at or after it, under one model on one corpus: how far the
-- residual stream there lies from the whole model's, beside what theory allows.
--
-- Why this number: the paper bounds the difference at the block (its first theorem) and, propagated, after every later
-- block (its second); the bound here is ours, in their spirit (docs/method/short_circuit.md). The measured difference
-- tells whether later blocks make it grow or damp it, and how loose the bound is. The slack is a geometric mean, since
-- propagated bounds grow by orders of magnitude.
-- Interval: 95 %, document-cluster, Student's t (cluster_margin in macros.sql).
-- Leaves out: ranges of blocks; differences between domains and between positions, over which each sequence's
-- difference is a root mean square; sequences that the model did not memorize, but for control text, where all that
-- were measured count: compare corpora of one role.
-- Units: difference and bound in the units of the residual stream; growth and slack are factors.
-- Source: arXiv 2501.05078, section 4.
-- Key: model, corpus, sample_rule, sample_window, condition, block, after_block
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, n_layers
--   block            short-circuited block, from 0
--   after_block      block after which the difference is measured
--   n, documents
--   difference       mean difference
--   difference_low   lower end of its interval; NULL: one document, or all alike
--   difference_high  upper end of its interval; NULL: one document, or all alike
--   growth           difference / the difference after the short-circuited block itself; NULL where that is 0
--   bounded          sequences with a bound
--   bound            mean bound over them; NULL: none
--   slack            bound / difference, geometric mean over the sequences where neither is 0; NULL: none
--   within           share of the bounded whose difference is within the bound; NULL: none
with parameters as not materialized (select
    0.0001 as tolerance     -- share by which rounding may carry a difference over its bound
), means as (
    from output_means_at(parameters)
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, n_layers, block,
    after_block, n, documents,
    difference, difference - margin as difference_low, difference + margin as difference_high,
    difference / nullif(first_value(difference) over start, 0) as growth, bounded, bound, slack, within
from labelled(means)
join (select model, n_layers from models) using (model)
window start as (partition by model, corpus, sample_rule, sample_window, condition, block order by after_block)
order by family, params, model, corpus, sample_rule, sample_window, block, after_block
