-- One row is one continuation position under one model on one corpus: how often the token there is produced.
--
-- Why this number: a memorized sequence is produced to its end, so a curve that stays level is memory and one that
-- falls is guessing that drifts. Greedy decoding sees its own errors and falls; forced prediction sees the true
-- tokens before and does not: the gap between them is what errors cost.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: differences between domains (they are pooled, each with the weight of its sample), and whether a
-- position that matches follows a mismatch.
-- Units: rates are shares in [0, 1]; position counts tokens from 0 at the first token of the continuation.
-- Source: arXiv 2603.21658, section 4.1.
-- Key: model, corpus, sample_rule, sample_window, condition, position
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition
--   position     token of the continuation, from 0
--   documents    distinct texts the sequences lie in
--   n            sequences decoded that reach this position
--   greedy       share of them whose greedy token matches; NULL where n is 0
--   greedy_low, greedy_high
--   not_decoded  sequences that reach this position whose decoding was skipped
--   forced_n     sequences with teacher-forced predictions that reach this position
--   forced       share of them whose forced prediction matches; NULL where forced_n is 0
--   forced_low, forced_high
with curves as (
    select model, corpus, sample_rule, sample_window, condition, decoding, position,
        sum(documents)::bigint as documents, sum(documents * n)::bigint as n,
        sum(documents * m) / nullif(sum(documents * n), 0) as rate,
        cluster_low(m, n, w := documents) as low, cluster_high(m, n, w := documents) as high,
        sum(documents * (sequences - n))::bigint as not_decoded
    from position_sums
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, position,
    any_value(documents) as documents,
    any_value(n) filter (decoding = 'greedy') as n, any_value(rate) filter (decoding = 'greedy') as greedy,
    any_value(low) filter (decoding = 'greedy') as greedy_low,
    any_value(high) filter (decoding = 'greedy') as greedy_high,
    any_value(not_decoded) filter (decoding = 'greedy') as not_decoded,
    any_value(n) filter (decoding = 'forced') as forced_n, any_value(rate) filter (decoding = 'forced') as forced,
    any_value(low) filter (decoding = 'forced') as forced_low,
    any_value(high) filter (decoding = 'forced') as forced_high
from labelled(curves)
group by all
order by family, params, model, corpus, sample_rule, sample_window, position
