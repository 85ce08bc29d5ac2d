-- One row is one model on one corpus under one weight: what share of what it memorized is of structural domains.
--
-- Why this number: models are said to memorize structure (code, maths, LaTeX, markup, logs) before prose. Of that a
-- share says nothing by itself: a corpus of three parts code has three parts code among what is memorized by a model
-- that does not care. So it stands beside expected_share, the structural share of what was asked, and ratio: how many
-- times as likely structural text is memorized as free text, the odds of share over the odds of expected_share.
-- Under 'sample' a domain counts with the sequences sampled of it, the same number for a small one as for a large one
-- (the published 74.3 % is of such a sample); under 'bytes' as in the corpus (see domain_distribution).
-- Interval: 95 %, from the document-cluster intervals of the domains' rates (see portion_low in macros.sql); that of
-- the ratio goes with it.
-- Leaves out: domains that are not in `domains`, of which neither class nor size is known (left_out counts them), and
-- domains that were not measured; differences within a class.
-- Units: shares in [0, 1]; the ratio is a factor.
-- Source: arXiv 2603.21658, section 4.4, which reports 74.3 % for Pythia-12B.
-- Key: model, corpus, sample_rule, sample_window, condition, weighted_by
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by
--   domains         domains measured whose class is known
--   left_out        domains measured whose class is not known
--   n               sequences in the domains of known class
--   memorized       of n, those produced verbatim
--   structural      of memorized, those in structural domains
--   expected_share  structural domains' share of the weight
--   share           structural domains' share of what is memorized; NULL where nothing is
--   low, high
--   ratio           rate of structural text / rate of free text; NULL where either is not there or no free text is
--                   memorized
--   ratio_low
--   ratio_high      upper end of its interval; NULL: without end
with parts as (
    select *, weight * ("class" = 'structural')::int as inside, weight * ("class" <> 'structural')::int as outside
    from weighted_rates
), sums as (
    select model, corpus, sample_rule, sample_window, condition, weighted_by,
        count("class") as domains, count(*) - count("class") as left_out,
        coalesce(sum(n) filter ("class" is not null), 0)::bigint as n,
        coalesce(sum(memorized) filter ("class" is not null), 0)::bigint as memorized,
        coalesce(sum(memorized) filter ("class" = 'structural'), 0)::bigint as structural,
        sum(inside) / nullif(sum(inside) + sum(outside), 0) as expected_share,
        sum(inside * rate) as x, total_low(inside, rate, low) as x_low, total_high(inside, rate, high) as x_high,
        sum(outside * rate) as y, total_low(outside, rate, low) as y_low, total_high(outside, rate, high) as y_high
    from parts
    group by all
), shares as (
    select *, x / nullif(x + y, 0) as share, portion_low(x, x_low, y, y_high) as low,
        portion_high(x, x_high, y, y_low) as high,
        (1 - expected_share) / nullif(expected_share, 0) as free_text_odds
    from sums
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by,
    domains, left_out, n, memorized, structural, expected_share, share, low, high,
    share / nullif(1 - share, 0) * nullif(free_text_odds, 0) as ratio,
    low / nullif(1 - low, 0) * nullif(free_text_odds, 0) as ratio_low,
    high / nullif(1 - high, 0) * nullif(free_text_odds, 0) as ratio_high
from labelled(shares)
order by family, params, model, corpus, sample_rule, sample_window, weighted_by desc
