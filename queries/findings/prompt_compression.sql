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
-- Columns:
--   family         architecture and training line
--   model          the model
--   miniature      trained here, tiny, on a small corpus: not comparable with published models
--   params         its number of parameters (see model_sizes); NULL: not known
--   corpus         corpus of the sequences
--   role           'trained' or 'control'; NULL: not known
--   domain         domain of the sequences
--   class          'structural' or 'free_text'; NULL: not known
--   window         'suffix': the last tokens of the prompt are kept; 'prefix': the first
--   n              memorized sequences
--   documents      documents they lie in
--   lower          first quartile of the ratio
--   median         its median
--   upper          its third quartile
--   mean           its mean
--   within         share of the sequences whose ratio is `at_most` or less
--   low            lower end of its interval
--   high           upper end of its interval
--   not_monotone   share of them for which some length beyond the shortest fails
with parameters as (select
    0.5 as at_most       -- the ratio that `within` counts up to
), ratios as (
    select model, corpus, domain, "window", coalesce(document_id, sequence_id) as document, ratio,
        ratio <= at_most as short,
        bit_count(successes::bit) < c.prefix_tokens - shortest + 1 as gap
    from prompt_compression c
    left join sequences using (sequence_id, corpus, domain), parameters
    where ratio is not null
), intervals as (
    select model, corpus, domain, "window", count(*) as documents, cluster_low(m, n) as low, cluster_high(m, n) as high
    from (
        select model, corpus, domain, "window", document, count(*) as n, count(*) filter (short) as m
        from ratios
        group by all
    )
    group by all
), quartiles as (
    select model, corpus, domain, "window", count(*) as n, quantile_cont(ratio, [0.25, 0.5, 0.75]) as q,
        avg(ratio) as mean, share(short) as within, share(gap) as not_monotone
    from ratios
    group by all
)
select family, model, miniature, params, corpus, role, domain, "class", "window", n, documents,
    q[1] as lower, q[2] as median, q[3] as upper, mean, within, low, high, not_monotone
from quartiles
join intervals using (model, corpus, domain, "window")
join model_sizes using (model)
left join model_corpora using (model, corpus)
left join domains using (corpus, domain)
order by family, params, model, corpus, domain, "window" desc
