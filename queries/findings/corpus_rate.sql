-- One row is one model on one corpus under one weight: the share of the corpus that the model produces verbatim, in
-- one number.
--
-- Why this number: a sample holds as many sequences of a small domain as of a large one, so that the mean over the
-- sample (weighted_by 'sample') changes with the choice of domains. Weighted by the bytes that ingest saw of each
-- domain ('bytes') the rate is an estimate for the corpus, and the one to lay beside counts over all of training.
-- Interval: 95 %, from the document-cluster intervals of the domains' rates, domains being sampled independently
-- (see total_low in macros.sql).
-- Leaves out: domains that were not measured (covered says how much of the corpus the others are), or, under 'bytes',
-- whose size is not known (left_out); and see domain_distribution on documents of unlike length.
-- Units: shares in [0, 1].
-- Source: Biderman et al. 2023, arXiv 2304.11158 (the rate); Cochran 1977, Sampling Techniques, 5.3 (weights).
-- Key: model, corpus, sample_rule, sample_window, condition, weighted_by
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by
--   domains    domains measured and weighted
--   left_out   domains measured whose weight is not known
--   covered    these domains' share of the corpus's bytes; NULL: the corpus is not in `domains`
--   n          sequences in these domains
--   memorized  of n, those produced verbatim
--   rate       mean of the domains' rates, so weighted; NULL where no weight is known
--   low, high
with rates as (
    select model, corpus, sample_rule, sample_window, condition, weighted_by, count(weight) as domains,
        count(*) - count(weight) as left_out, sum(n_bytes) as seen,
        coalesce(sum(n) filter (weight is not null), 0)::bigint as n,
        coalesce(sum(memorized) filter (weight is not null), 0)::bigint as memorized,
        sum(weight * rate) / nullif(sum(weight), 0) as rate,
        total_low(weight, rate, low) / nullif(sum(weight), 0) as low,
        total_high(weight, rate, high) / nullif(sum(weight), 0) as high
    from weighted_rates
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by,
    domains, left_out, seen / nullif(of_corpus, 0) as covered, n, memorized, rate, low, high
from labelled(rates)
left join (select corpus, sum(n_bytes) as of_corpus from domains group by all) using (corpus)
order by family, params, model, corpus, sample_rule, sample_window, weighted_by desc
