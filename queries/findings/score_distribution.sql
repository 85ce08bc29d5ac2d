-- One row is one score a sequence can have under one model in one domain: how many sequences have it.
--
-- Why this number: the rate counts only the last level. Whether the rest lies near zero (memorized or not) or in
-- between (partly memorized) is seen in the whole histogram: 33 levels for 32 tokens, levels that no sequence has
-- included.
-- Leaves out: sequences whose decoding was skipped (not_decoded counts them; their score is not known), and the place
-- of the matches (position_curve has it). Shares carry no interval; memorization_rate has the last level's.
-- Units: score and share are in [0, 1]; the score is of free-running greedy decoding.
-- Source: Biderman et al. 2023, arXiv 2304.11158, section 2; arXiv 2603.21658, section 3.2.
-- Key: model, corpus, sample_rule, sample_window, condition, domain, n_tokens, n_match
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain
--   n_tokens     tokens of the continuation
--   n_match      tokens that match, from 0 to n_tokens
--   score        n_match / n_tokens
--   sequences    sequences with this score
--   n            sequences decoded, over all scores
--   share        sequences / n; NULL where n is 0
--   not_decoded  sequences whose decoding was skipped
with histograms as (
    select model, corpus, domain, sample_rule, sample_window, condition, n_tokens,
        count(n_match) as n, count(*) - count(n_match) as not_decoded, histogram(n_match) as counts
    from matches
    group by all
), levels as (
    select *, unnest(range(n_tokens + 1)) as n_match
    from histograms
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, n_tokens,
    n_match, n_match / n_tokens as score, coalesce(counts[n_match], 0)::bigint as sequences, n,
    sequences / nullif(n, 0) as share, not_decoded
from labelled(levels)
order by family, params, model, corpus, sample_rule, sample_window, domain, n_tokens, n_match
