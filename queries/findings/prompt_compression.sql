-- One row is one model on one domain of one corpus and one way to shorten a prompt: how little of the prompt the
-- sequences it memorized need.
--
-- Why this number: of a text that is well known a few tokens call up the rest, so the ratio says how firmly it is held.
-- The ratio of a sequence is the fewest tokens of its prompt from which greedy decoding still gives the whole
-- continuation, divided by all its tokens. All lengths are tried, since a longer prompt may fail where a shorter one
-- does not: not_monotone says how often.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql), of the share `within`.
-- Leaves out: sequences that the whole prompt does not call up (they are not memorized); prompts longer than what was
-- measured. With the prefix window tokens are missing between prompt and continuation, which the model is not told.
-- Units: ratios and shares are in [0, 1].
-- Source: arXiv 2603.21658, section 4.2, which reports ratios of at most 0.5 for Pythia and StarCoder and does not say
-- which tokens are kept.
-- Key: model, corpus, sample_rule, sample_window, condition, domain, window
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, class, window
--   n             memorized sequences
--   documents
--   lower         first quartile of the ratio
--   median        its median
--   upper         its third quartile
--   mean          its mean
--   within        share of the sequences whose ratio is `at_most` or less
--   low, high
--   not_monotone  share of them for which some length beyond the shortest fails
with parameters as (select
    0.5 as at_most       -- the ratio that `within` counts up to
), ratios as (
    select model, corpus, domain, sample_rule, sample_window, condition, "window", text, ratio,
        ratio <= at_most as short, bit_count(successes::bit) < c.prefix_tokens - shortest + 1 as gap
    from with_text(prompt_compression) c, parameters
    where ratio is not null
), texts as (
    select model, corpus, domain, sample_rule, sample_window, condition, "window", text, count(*) as n,
        count(*) filter (short) as m, count(*) filter (gap) as gaps, list(ratio) as ratios
    from ratios
    group by all
), means as (
    select model, corpus, domain, sample_rule, sample_window, condition, "window", sum(n)::bigint as n,
        count(*) as documents, flatten(list(ratios)) as ratios,
        sum(m) / sum(n) as within, cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(gaps) / sum(n) as not_monotone
    from texts
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, "class",
    "window", n, documents, list_aggregate(ratios, 'quantile_cont', 0.25) as lower, list_median(ratios) as median,
    list_aggregate(ratios, 'quantile_cont', 0.75) as upper, list_avg(ratios) as mean, within, low, high, not_monotone
from labelled(means)
left join domains using (corpus, domain)
order by family, params, model, corpus, sample_rule, sample_window, domain, "window" desc
