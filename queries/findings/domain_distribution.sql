-- One row is one domain of a corpus under one model and one weight: its share of what the model memorized, beside its
-- share of what the model was asked.
--
-- Why this number: a sample holds as many sequences of a small domain as of a large one. What the model memorized of
-- the sample (weighted_by 'sample') is therefore not what it memorized of the corpus ('bytes'), where a domain counts
-- with its rate times its size. Bytes, because a sequence begins at a space between words, and the number of those
-- grows with the text and not with the number of documents. lift, the share over what it would be were all domains
-- memorized alike, is the domain's rate over that of all domains together.
-- Interval: 95 %, from the document-cluster intervals of the domains' rates, domains being sampled independently
-- (see total_low and portion_low in macros.sql). With 10 to 200 documents in each of 2 to 20 domains it covered the
-- true share in 89 to 99 % of simulated cases. That of the lift is the share's over expected_share, which is known.
-- Leaves out: domains that were not measured, or, under 'bytes', whose size is not known (weight and all shares are
-- NULL): shares are among the others. Within a domain all sequences sampled count alike, and a sample takes a second
-- sequence of no document before it has one of each: where long documents are memorized less than short ones, the
-- rate is above that of the domain's bytes. For samples of the starts of documents (`sample --at start`) the number of
-- documents would be the weight.
-- Units: shares in [0, 1]; weight in sequences or bytes; lift is a factor.
-- Source: arXiv 2603.21658, section 4.1; weights: Cochran 1977, Sampling Techniques, 5.3 (stratified sampling).
-- Key: model, corpus, sample_rule, sample_window, condition, weighted_by, domain
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by, domain, class,
--   n, documents, memorized
--   weight          n, or the bytes of the domain in the corpus; NULL: not known
--   expected_share  weight over that of all domains
--   share           memorized / n * weight over the same of all domains; NULL where nothing is memorized
--   low, high
--   lift            share / expected_share; NULL where the domain is of no bytes
--   lift_low, lift_high
with parts as (     -- x: the share of the corpus that is memorized and lies in the domain
    select *, weight / nullif(sum(weight) over of_all, 0) as expected_share, rate * expected_share as x,
        (rate - low) * expected_share as x_below, (high - rate) * expected_share as x_above
    from weighted_rates
    window of_all as (partition by model, corpus, sample_rule, sample_window, condition, weighted_by)
), rests as (       -- y: that in other domains
    select *, coalesce(sum(x) over others, 0) as y,
        sqrt(coalesce(sum(x_below ** 2) over others, 0)) as y_below,
        sqrt(coalesce(sum(x_above ** 2) over others, 0)) as y_above
    from parts
    window others as (
        partition by model, corpus, sample_rule, sample_window, condition, weighted_by order by domain
        rows between unbounded preceding and unbounded following exclude current row
    )
), shares as (
    select * exclude (low, high), x / nullif(x + y, 0) as share,
        portion_low(x, x - x_below, y, y + y_above) as low, portion_high(x, x + x_above, y, y - y_below) as high
    from rests
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, weighted_by, domain,
    "class", n, documents, memorized, weight, expected_share, share, low, high,
    share / nullif(expected_share, 0) as lift, low / nullif(expected_share, 0) as lift_low,
    high / nullif(expected_share, 0) as lift_high
from labelled(shares)
order by family, params, model, corpus, sample_rule, sample_window, weighted_by desc, domain
