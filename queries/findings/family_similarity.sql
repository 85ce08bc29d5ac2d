-- One row is one family under one method: whether its layer profiles are more alike than those of other families.
--
-- Why this number: if what a model memorizes with is a matter of its family, then two models of one family should be
-- more alike than one of it and one of another. within is the mean similarity (see profile_similarity) of the pairs
-- inside the family, across that of the pairs of one of its models and one of another family. Published models and
-- miniatures are never paired.
-- Null: the family's name is dealt to as many models drawn at random; p is the share of deals, the observed among
-- them, with a difference at least as large. Where there are no more than `exact` ways to deal it, all are counted
-- (deals = ways), so that p is the probability itself, and its least value one over the ways: it cannot be small where
-- there are few models. Else `permutations` deals are drawn, by an MD5 of the model and the number of the deal.
-- Pairs share models, so that a test over pairs as if they were independent would find too much.
-- Many tests: all families of a method, sample and kind of model are tests of one kind (Holm up to 10 of them,
-- Benjamini and Hochberg for more: see adjusted_p in macros.sql).
-- Leaves out: models with fewer than `minimum_layers` layers; that models of one family also share their corpus, and
-- often their size.
-- Units: similarity in [-1, 1]; p in (0, 1].
-- Source: arXiv 2603.21658, section 4.8; Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p counts the
-- observed).
-- Key: family, miniature, sample_rule, sample_window, condition, method
-- Columns:
--   family
--   miniature     its models are trained here, tiny
--   sample_rule, sample_window
--   condition     under which its models were measured: see `conditions`; NULL: under several
--   method
--   models        models of the family that are compared
--   others        models of other families
--   pairs_within  pairs inside the family
--   within        their mean similarity; NULL: there is none
--   within_low    the least alike pair
--   within_high   the most alike pair
--   pairs_across  pairs of one of its models and another family's
--   across        their mean similarity; NULL: there is none
--   difference    within - across
--   ways          ways to deal the family's name
--   deals         deals that p counts: all ways, or those that were drawn and the observed; NULL: see note
--   p             probability of a difference as large, were names dealt at random; NULL: see note
--   p_adjusted
--   tests         families that have a p
--   note          'too few' (models of the family, or others), or NULL
with parameters as (select
    11 as points,           -- depths at which profiles are read, at least 2
    999 as permutations,    -- deals of the families' names that are drawn where the ways are many
    4 as minimum_layers,    -- below which a profile is not compared
    10000 as exact,         -- ways to deal a name up to which all are counted
    true as known           -- of sequences that the model memorized; false: of the others that were measured
), read as materialized (
    select model, family, miniature, sample_rule, sample_window, condition, method, at_depths(drops, points) as depths
    from model_profiles
    join models using (model)
    join parameters using (known)
    where len(drops) >= minimum_layers
), profiles as materialized (       -- of one `pool`: one method, sample and kind of model; `number` counts its models
    select *, standard(depths) as profile, row_number() over (partition by pool order by model) as number
    from (
        select *, dense_rank() over (order by method, miniature, sample_rule, sample_window)::int as pool
        from read
    )
    where list_max(depths) > list_min(depths)
), pairs as materialized (
    select pool, a.number as a, b.number as b, a.family as family_a, b.family as family_b,
        list_inner_product(a.profile, b.profile) as similarity
    from profiles a
    join profiles b using (pool)
    where a.number < b.number
), families as (
    select pool, family, any_value(miniature) as miniature, any_value(sample_rule) as sample_rule,
        any_value(sample_window) as sample_window, same_or_null(condition) as condition, any_value(method) as method,
        count(*) as models, (sum(count(*)) over (partition by pool))::bigint - count(*) as others,
        round(exp(log_choose(models + others, models))) as ways
    from profiles
    group by pool, family
), observed as (
    select pool, family,
        count(*) filter (family_a = family_b) as pairs_within,
        avg(similarity) filter (family_a = family_b) as within,
        min(similarity) filter (family_a = family_b) as within_low,
        max(similarity) filter (family_a = family_b) as within_high,
        count(*) filter (family_a <> family_b) as pairs_across,
        avg(similarity) filter (family_a <> family_b) as across
    from families
    join pairs using (pool)
    where family in (family_a, family_b)
    group by all
), sizes as (       -- of families that can be tested
    select distinct pool, models, models + others as among, ways <= greatest(exact, permutations) as all_ways
    from families, parameters
    where models > 1 and others > 0
), listed as (
    with recursive begun as (       -- the first members of a deal, in the order of their numbers
        select pool, models, among, []::bigint[] as members from sizes where all_ways
        union all
        select pool, models, among, list_append(members, next)
        from (      -- the next leaves room for those that must follow
            select *, unnest(range(coalesce(members[-1], 0) + 1, among - models + len(members) + 2)) as next
            from begun
            where len(members) < models
        )
    )
    select pool, models, members from begun where len(members) = models
), drawn as (       -- the first models of an MD5 order
    select pool, models, list(number order by place) as members
    from (
        select pool, models, deal, number, row_number() over (
            partition by pool, models, deal order by md5_number_lower(concat_ws('/', model, deal)), model) as place
        from sizes
        join profiles using (pool), (select unnest(range(1, permutations + 1)) as deal from parameters)
        where not all_ways
    )
    where place <= models
    group by pool, models, deal
), deals as materialized (
    select row_number() over ()::int as deal, *
    from (
        from listed
        union all
        from drawn
    )
), alike as (       -- how alike a model is to all others together
    select pool, number, sum(similarity) as total
    from (select pool, unnest([a, b]) as number, similarity from pairs)
    group by all
), inside as (
    select deal, sum(similarity) as inside
    from (select deal, pool, unnest(members) as a, members from deals)
    join pairs using (pool, a)
    where list_contains(members, b)
    group by deal
), differences as (     -- each pair inside is counted twice in what its two models have with all
    select pool, models, inside / (models * (models - 1) / 2)
        - (sum(total) - 2 * inside) / (models * (among - models)) as difference
    from (select deal, pool, models, unnest(members) as number from deals)
    join sizes using (pool, models)
    join alike using (pool, number)
    join inside using (deal)
    group by deal, pool, models, among, inside
), tested as (
    select pool, family, count(d.difference) + if(all_ways, 0, 1) as deals,
        (count(*) filter (d.difference >= within - across - 1e-9) + if(all_ways, 0, 1)) / deals as p
    from families
    join sizes using (pool, models)
    join observed using (pool, family)
    left join differences d using (pool, models)
    group by pool, family, all_ways
), stepped as (
    select *, adjusting(p, pool) as step
    from families
    left join observed using (pool, family)
    left join tested using (pool, family)
)
select family, miniature, sample_rule, sample_window, condition, method, models, others,
    coalesce(pairs_within, 0) as pairs_within, within, within_low, within_high,
    coalesce(pairs_across, 0) as pairs_across, across, within - across as difference, ways, deals, p,
    adjusted_p(p, step, pool) as p_adjusted, count(p) over (partition by pool) as tests,
    if(p is null, 'too few', null) as note
from stepped
order by method, sample_rule, sample_window, miniature, family
