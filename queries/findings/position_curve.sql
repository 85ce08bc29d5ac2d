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
with lines as materialized (
    from lines_of(matches)
), measured as (
    from on_lines(matches, lines)
), positions as (
    select line, text, unnest(range(n_tokens))::int as position,
        "match"::bit as greedy, forced_match::bit as forced
    from with_text(measured)
), documents as (
    select line, text, position, count(*) as sequences,
        count(greedy) as n, coalesce(sum(get_bit(greedy, position)), 0) as m,
        count(forced) as forced_n, coalesce(sum(get_bit(forced, position)), 0) as forced_m
    from positions
    group by all
), curves as (
    select line, position, count(*) as documents,
        sum(n)::bigint as n, sum(m) / nullif(sum(n), 0) as greedy,
        cluster_low(m, n) as greedy_low, cluster_high(m, n) as greedy_high,
        sum(sequences - n)::bigint as not_decoded,
        sum(forced_n)::bigint as forced_n, sum(forced_m) / nullif(sum(forced_n), 0) as forced,
        cluster_low(forced_m, forced_n) as forced_low, cluster_high(forced_m, forced_n) as forced_high
    from documents
    group by line, position
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, position,
    curves.* exclude (line, position)
from curves
join labelled(lines) using (line)
order by family, params, model, corpus, sample_rule, sample_window, position
