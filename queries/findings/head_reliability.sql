-- One row is one number of examples for one model in one domain under one method: how far its ranking of heads can
-- be trusted, and how small an effect it can find.
--
-- Why this number: a ranking of heads from a sample is partly noise, and a study that takes fewer examples for large
-- models may mistake the noise for a difference between models. The domain's documents are halved `splits` times,
-- heads are ranked in each half by their mean drop of log-probability, and the two rankings compared (Spearman).
-- From the reliability of half the sample the Spearman-Brown formula gives that of the whole, and of `examples`
-- sequences.
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
-- Columns:
--   family             architecture and training line
--   model              the model
--   miniature          trained here, tiny, on a small corpus: not comparable with published models
--   params             its number of parameters (see model_sizes); NULL: not known
--   corpus             corpus of the sequences
--   role               'trained' or 'control'; NULL: not known
--   domain             domain of the sequences
--   method             what stands in for a head: see head_importance
--   n                  sequences measured
--   documents          documents they lie in
--   heads              heads taken away on all of them
--   half_reliability   Spearman's correlation of two halves, mean over splits; NULL: see note
--   half_jaccard       Jaccard index of the two halves' important heads, mean over splits
--   expected_jaccard   its mean, were both halves' sets drawn at random from these heads
--   examples           number of sequences that the following columns are for
--   projected          examples is not n
--   reliability        of the ranking from that many examples
--   lowest             reliability from the split that agrees least
--   highest            reliability from the split that agrees most
--   detectable_drop    smallest mean drop that so many examples find; NULL: one sequence
--   detectable_lost    smallest share of memorized sequences lost that they find; NULL: no head lost any
--   note               'too few' (documents, or heads), or NULL
with parameters as (select
    [2500, 10000] as examples,      -- numbers of sequences to project to
    20 as splits,                   -- ways to halve the documents
    0.2 as share,                   -- share of a model's heads that count as important
    10 as minimum_documents,        -- below which they are not halved
    5 as minimum_heads              -- below which heads are not ranked
), lines as materialized (      -- joining by a number instead of names is many times as fast
    select row_number() over ()::int as line, *
    from (
        select model, corpus, domain, method, count(*) as heads,
            any_value(greatest(1, round(share * head_drops.heads))::bigint) as k,
            any_value(n) as n, median(sqrt(variance)) as sd, avg(n_lost) as lost
        from head_drops, parameters
        where complete
        group by all
    )
), grouped as materialized (
    select line, document,
        (row_number() over (partition by line order by md5_number_lower(document::text), document) % 32)::int as part,
        count(*) as n, count(*) filter (memorized) as memorized, list(sequence_id) as members
    from head_sequences
    join lines using (model, corpus, domain, method)
    group by line, document
), members as materialized (
    select line, part, unnest(members) as sequence_id from grouped
), complete as materialized (
    select line, layer, head from head_drops join lines using (model, corpus, domain, method) where complete
), cells as (
    select distinct line, cell from head_effects join lines using (model, corpus, domain, method)
), sums as materialized (
    select line, part, layer, head, count(*) as n, sum(delta_logprob::double) as total
    from head_deltas
    join cells using (cell)
    join members using (line, sequence_id)
    where delta_logprob is not null
    group by line, part, layer, head
), halves as (      -- one half of each split; the other is the rest
    select line, part, split
    from (select distinct line, part from grouped), (select unnest(range(splits)) as split from parameters)
    qualify row_number() over (partition by line, split order by md5_number_lower(concat_ws('/', part, split))) % 2 = 0
), wholes as (
    select line, layer, head, sum(n) as n, sum(total) as total
    from sums
    join complete using (line, layer, head)
    group by line, layer, head
), means as (
    select line, split, layer, head, sum(s.total) / sum(s.n) as a,
        (any_value(w.total) - sum(s.total)) / (any_value(w.n) - sum(s.n)) as b
    from wholes w
    join sums s using (line, layer, head)
    join halves using (line, part)
    group by line, split, layer, head
), ranks as (       -- the largest drop, which is the least delta, first
    select line, split, rank() over (partition by line, split order by a, layer, head) as a,
        rank() over (partition by line, split order by b, layer, head) as b
    from means
), agreements as (
    select line, split, corr(a, b) as r,
        count(*) filter (a <= k and b <= k) / count(*) filter (a <= k or b <= k) as jaccard
    from ranks
    join lines using (line)
    group by line, split
), agreement as (
    select line, avg(r) as r, min(r) as least, max(r) as most, avg(jaccard) as jaccard
    from agreements
    group by line
), documents as (
    select line, count(*) as documents, sum(memorized)::bigint as memorized
    from grouped
    group by line
), judged as (
    select *, if(documents < minimum_documents or heads < minimum_heads, 'too few', null) as note,
        unnest(list_sort(list_distinct(list_append(examples, n)))) as example
    from lines
    join documents using (line)
    left join agreement using (line), parameters
)
select family, model, miniature, params, corpus, role, domain, method, n, documents, heads,
    if(note is null, r, null) as half_reliability, if(note is null, jaccard, null) as half_jaccard,
    if(note is null, expected_jaccard(heads, least(k, heads), least(k, heads)), null) as expected_jaccard,
    example as examples, example <> n as projected,
    if(note is null, lengthened(r, 2 * example / n), null) as reliability,
    if(note is null, lengthened(least, 2 * example / n), null) as lowest,
    if(note is null, lengthened(most, 2 * example / n), null) as highest,
    2.801585 * sd / sqrt(example) as detectable_drop,
    if(lost > 0, 2.801585 * sqrt(lost / memorized * (1 - lost / memorized) / (memorized * example / n)), null)
        as detectable_lost,
    note
from judged
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, domain, method, examples
