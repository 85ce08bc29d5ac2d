-- One row is one family under one method: whether its layer profiles are more alike than those of other families.
--
-- Why this number: if what a model memorizes with is a matter of its family, then two models of one family should be
-- more alike than one of it and one of another. within is the mean similarity (see profile_similarity) of the pairs
-- inside the family, across that of the pairs of one of its models and one of another family. Published models and
-- miniatures are never paired.
-- Null: the family's name is dealt to as many models drawn at random, `permutations` times, by an MD5 of the model
-- and the number of the deal; p is the share of deals, the observed among them, with a difference at least as large.
-- Pairs share models, so that a test over pairs as if they were independent would find too much. p is never below
-- one over the number of ways to deal (ways), so that it cannot be small where there are few models.
-- Leaves out: models with fewer than `minimum_layers` layers; that models of one family also share their corpus, and
-- often their size.
-- Units: similarity in [-1, 1]; p in (0, 1].
-- Source: arXiv 2603.21658, section 4.8; Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p counts the
-- observed).
-- Columns:
--   family           architecture and training line
--   miniature        its models are trained here, tiny
--   method           what stands in for a head: see head_importance
--   models           models of the family that are compared
--   others           models of other families
--   pairs_within     pairs inside the family
--   within           their mean similarity; NULL: there is none
--   within_low       the least alike pair
--   within_high      the most alike pair
--   pairs_across     pairs of one of its models and another family's
--   across           their mean similarity; NULL: there is none
--   difference       within - across
--   ways             ways to deal the family's name
--   p                probability of a difference as large, were names dealt at random; NULL: see note
--   note             'too few' (models of the family, or others), or NULL
with parameters as (select
    11 as points,           -- depths at which profiles are read, at least 2
    999 as permutations,    -- deals of the families' names
    4 as minimum_layers     -- below which a profile is not compared
), profiles as (
    select method, miniature, family, model, standard(at_depths(drops, points)) as profile
    from model_profiles
    join models using (model), parameters
    where len(drops) >= minimum_layers and list_max(drops) > list_min(drops)
), pairs as materialized (
    select method, miniature, a.model as model_a, b.model as model_b, a.family as family_a, b.family as family_b,
        list_inner_product(a.profile, b.profile) as similarity
    from profiles a
    join profiles b using (method, miniature)
    where a.model < b.model
), families as (
    select method, miniature, family, count(*) as models,
        (sum(count(*)) over (partition by method, miniature))::bigint - count(*) as others
    from profiles
    group by method, miniature, family
), observed as (
    select method, miniature, family,
        count(similarity) filter (family_a = family_b) as pairs_within,
        avg(similarity) filter (family_a = family_b) as within,
        min(similarity) filter (family_a = family_b) as within_low,
        max(similarity) filter (family_a = family_b) as within_high,
        count(similarity) filter (family_a <> family_b) as pairs_across,
        avg(similarity) filter (family_a <> family_b) as across
    from families
    left join pairs using (method, miniature)
    where family in (family_a, family_b) or family_a is null
    group by all
), deals as materialized (
    select method, miniature, model, deal,
        row_number() over (
            partition by method, miniature, deal order by md5_number_lower(concat_ws('/', model, deal)), model
        ) as place
    from (select *, unnest(range(1, permutations + 1)) as deal from profiles, parameters)
), dealt as (       -- the first models of a deal are the family
    select method, miniature, family, deal,
        avg(similarity) filter (a.place <= models and b.place <= models)
        - avg(similarity) filter ((a.place <= models) <> (b.place <= models)) as difference
    from pairs
    join deals a using (method, miniature)
    join deals b using (method, miniature, deal)
    join families using (method, miniature)
    where a.model = model_a and b.model = model_b and models > 1 and others > 0
    group by all
), tested as (
    select method, miniature, family,
        (1 + count(*) filter (difference >= within - across - 1e-9)) / (1 + count(difference)) as p
    from observed
    left join dealt using (method, miniature, family)
    where within is not null and across is not null
    group by method, miniature, family
)
select family, miniature, method, models, others, coalesce(pairs_within, 0) as pairs_within,
    within, within_low, within_high, coalesce(pairs_across, 0) as pairs_across, across, within - across as difference,
    round(exp(log_choose(models + others, models))) as ways, p, if(p is null, 'too few', null) as note
from families
left join observed using (method, miniature, family)
left join tested using (method, miniature, family)
order by method, miniature, family
