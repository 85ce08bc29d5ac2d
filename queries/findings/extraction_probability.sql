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
), lines as materialized (
    from lines_of(matches)
), numbered as (
    from on_lines(matches, lines)
), measured as (
    select line, text, sum_logprob is not null as known, log_p_z
    from with_text(numbered)
), documents as (
    select line, attempts, probability, text,
        count(*) filter (known) as n, count(*) filter (known and log_p_z >= needed) as m,
        count(*) filter (known and log_p_z is null) as impossible, count(*) filter (not known) as not_measured
    from measured, thresholds
    group by all
), rates as (
    select line, attempts, probability,
        sum(n)::bigint as n, count(*) filter (n > 0) as documents, sum(m)::bigint as extractable,
        sum(m) / nullif(sum(n), 0) as rate, cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(impossible)::bigint as impossible, sum(not_measured)::bigint as not_measured
    from documents
    group by line, attempts, probability
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, top_k, temperature,
    rates.* exclude (line)
from rates
join labelled(lines) using (line)
left join conditions using (condition)
order by family, params, model, corpus, sample_rule, sample_window, attempts, probability
