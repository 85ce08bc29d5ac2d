-- One row is one number of attempts and one probability under one model on one corpus: the share of sequences that so
-- many attempts extract with at least this probability.
--
-- Why this number: greedy decoding is one attempt of one adversary. A sequence is (n, p)-discoverably extractable
-- when n samples from its prefix hold the continuation with probability p or more: 1 - (1 - p_z)^n >= p, p_z being
-- the probability of the continuation under the sampling that the model's base condition names. It is exact, nothing
-- is sampled. It is compared as log_p_z >= log_p_needed(n, p), so that p_z = 1e-300 still counts as what it is.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: continuations nearly the same, and differences between domains, which are pooled. A sequence whose
-- log_p_z is NULL while its sum_logprob is known has a token outside the top k: it is impossible, and counts as not
-- extracted.
-- Units: rate, low and high are shares in [0, 1].
-- Source: Hayes et al. 2024, arXiv 2410.19482, definition 2.
-- Key: model, corpus, sample_rule, sample_window, condition, top_k, temperature, attempts, probability
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition
--   top_k         tokens that sampling chooses from; NULL: not known
--   temperature   temperature of sampling; NULL: not known
--   attempts      n of (n, p)
--   probability   p of (n, p)
--   n             sequences with known log-probabilities
--   documents
--   extractable   sequences extracted
--   rate          extractable / n; NULL where n is 0
--   low, high
--   impossible    sequences of n with a token outside the top k
--   not_measured  sequences without log-probabilities (imported)
with parameters as (select
    [1, 10, 100, 1000, 10000, 100000, 1000000] as attempts,     -- numbers of samples drawn, at least 1
    [0.1, 0.5, 0.9, 0.99] as probabilities                      -- probabilities of success, between 0 and 1
), thresholds as (
    select attempts, probability, log_p_needed(attempts, probability) as needed
    from (select unnest(attempts) as attempts from parameters),
        (select unnest(probabilities)::double as probability from parameters)
), levels as (      -- one comparison tells of each sequence which thresholds it passes: as many as its level
    select list(needed order by needed) as steps from thresholds
), lines as materialized (
    from lines_of(match_sums)
), numbered as (
    from on_lines(matches, lines)
), measured as (
    select line, text, sum_logprob is not null as known, known and log_p_z is null as outside,
        case when sum_logprob is not null and log_p_z >= steps[1]
            then len(list_filter(steps, lambda step: log_p_z >= step)) end as level
    from with_text(numbered), levels
), texts as materialized (      -- those that are alike: passed, the levels of those sequences that pass any threshold
    select line, n, impossible, not_measured, passed, count(*) as documents
    from (
        select line, count(*) filter (known) as n, count(*) filter (outside) as impossible,
            count(*) filter (not known) as not_measured, list_sort(list(level) filter (level is not null)) as passed
        from measured
        group by line, text
    )
    group by all
), rates as (
    select line, attempts, probability,
        sum(documents * n)::bigint as n, coalesce(sum(documents) filter (n > 0), 0)::bigint as documents,
        sum(documents * m)::bigint as extractable,
        sum(documents * m) / nullif(sum(documents * n), 0) as rate,
        cluster_low(m, n, w := documents) as low, cluster_high(m, n, w := documents) as high,
        sum(documents * impossible)::bigint as impossible, sum(documents * not_measured)::bigint as not_measured
    from (
        select *, coalesce(len(list_filter(passed, lambda level: level >= least_level)), 0) as m
        from texts, (
            select *, 1 + len(list_filter(steps, lambda step: step < needed)) as least_level from thresholds, levels
        )
    )
    group by line, attempts, probability
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, top_k, temperature,
    rates.* exclude (line)
from rates
join labelled(lines) using (line)
left join conditions using (condition)
order by family, params, model, corpus, sample_rule, sample_window, attempts, probability
