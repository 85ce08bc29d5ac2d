-- One row is one number of examples for one model in one domain under one method: how far its ranking of heads can
-- be trusted, and how small an effect it can find.
--
-- Why this number: a ranking of heads from a sample is partly noise, and a study that takes fewer examples for large
-- models may mistake the noise for a difference between models. The domain's documents, exact copies as one, are
-- halved `splits` times, heads are ranked in each half by their mean drop of log-probability, and the two rankings
-- compared (Spearman). From the reliability of half the sample the Spearman-Brown formula gives that of the whole,
-- and of `examples` sequences.
-- Halves: documents are dealt to 32 groups of equal size, or as many as there are, by an MD5 of their id, and half
-- of the groups taken by an MD5 of group and split: always the same halves, and one pass over the drops for all of
-- them.
-- Detectable: the smallest mean drop that a two-sided 5 % test of one head finds with power 80 %, (1.959964 +
-- 0.841621) * sd / sqrt(n), for the head whose drops vary as those of the median head. For the verbatim share sd is
-- sqrt(q (1 - q)), q being the mean share of memorized sequences that a head loses.
-- Leaves out: heads that screening dropped: with them only leaders are compared, which agree less. That the formula
-- is made for Pearson's correlation and equal halves. That a sequence of a document already there counts as a new
-- example.
-- Units: reliability and Jaccard indices are shares; detectable_drop in nats over the continuation.
-- Source: Spearman 1910 and Brown 1910, British J. Psychology 3:271 and 3:296; Cohen 1988, Statistical Power
-- Analysis, 2.
-- Key: model, corpus, sample_rule, sample_window, condition, domain, method, examples
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method
--   n                 sequences measured
--   documents
--   heads             heads taken away on all of them
--   half_reliability  Spearman's correlation of two halves, mean over splits; NULL: see note
--   half_jaccard      Jaccard index of the two halves' important heads, mean over splits
--   expected_jaccard  its mean, were both halves' sets drawn at random from these heads
--   examples          number of sequences that the following columns are for
--   projected         examples is not n
--   reliability       of the ranking from that many examples
--   lowest            reliability from the split that agrees least
--   highest           reliability from the split that agrees most
--   detectable_drop   smallest mean drop that so many examples find; NULL: one sequence
--   detectable_lost   smallest share of memorized sequences lost that they find; NULL: no head lost any
--   note              'too few' (documents, or heads), or NULL
with parameters as (select
    [2500, 10000] as examples,      -- numbers of sequences to project to
    20 as splits,                   -- ways to halve the documents
    0.2 as share,                   -- share of a model's heads that count as important
    10 as minimum_documents,        -- below which they are not halved
    5 as minimum_heads,             -- below which heads are not ranked
    true as known                   -- of sequences that the model memorized; false: of the others that were measured
), judged as (
    select *, unnest(list_sort(list_distinct(list_append(examples, n)))) as example
    from split_halves(
        (select share from parameters), (select splits from parameters),
        (select minimum_documents from parameters), (select minimum_heads from parameters),
        (select known from parameters)), parameters
), shapes as (      -- models are of few
    select heads, k, mean_jaccard(chances, drawn, drawn) as expected_jaccard
    from (
        select heads, k, least(k, heads) as drawn, common_chances(heads, drawn, drawn) as chances
        from (select distinct heads, k from judged where note is null)
    )
), beside as (
    select judged.*, expected_jaccard
    from judged
    left join shapes on shapes.heads = judged.heads and shapes.k = judged.k and note is null
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, domain, method, n,
    documents, heads, half_reliability, half_jaccard, expected_jaccard, example as examples, example <> n as projected,
    lengthened(half_reliability, 2 * example / n) as reliability,
    lengthened(least, 2 * example / n) as lowest, lengthened(most, 2 * example / n) as highest,
    2.801585 * sd / sqrt(example) as detectable_drop,
    if(lost > 0, 2.801585 * sqrt(lost / memorized * (1 - lost / memorized) / (memorized * example / n)), null)
        as detectable_lost,
    note
from labelled(beside)
order by family, params, model, corpus, sample_rule, sample_window, domain, method, examples
