-- One row is one pair of models under one method: how alike their layer profiles are.
--
-- Why this number: two models that memorize in the same way should depend on heads at the same relative depths.
-- Similarity is Pearson's correlation of the two profiles at `points` relative depths (see layer_profile): it does
-- not see the scale, which differs with the number of heads, but keeps how far one depth outweighs another, which
-- ranks would lose. A model's profile is the mean over the corpora it is not a control for, so that models of
-- different corpora can be compared, each on its own.
-- Null: the layers of both models are shuffled before they are read, `permutations` times, by an MD5 of the model,
-- the layer and the number of the shuffle, so that the answer is always the same. p is the share of shuffles, the
-- observed order among them, that are at least as alike: never below 1 / (permutations + 1), and never below what
-- the orders of a few layers allow.
-- Leaves out: neighbouring layers resemble each other, which shuffles undo: smooth profiles agree by chance more
-- often than p says. Whether a family is more alike than others (family_similarity) does not lean on this. Profiles
-- are taken as they are, without the noise of their drops.
-- Units: similarity in [-1, 1]; p in (0, 1].
-- Source: arXiv 2603.21658, section 4.8; Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p counts the
-- observed).
-- Columns:
--   method       what stands in for a head: see head_importance
--   model_a      first model of the pair, in alphabetical order
--   family_a     its architecture and training line
--   layers_a     its layers
--   model_b      second model
--   family_b     its architecture and training line
--   layers_b     its layers
--   miniature    both are trained here, tiny: such models are paired with each other only
--   similarity   correlation of the profiles; NULL: see note
--   p            probability of one as large, were layers in random order
--   note         'too few' (layers), 'constant' (a profile), or NULL
with parameters as (select
    11 as points,           -- depths at which profiles are read, at least 2
    999 as permutations,    -- shuffles of the layers
    4 as minimum_layers     -- below which a profile is not compared
), profiles as (
    select method, model, family, miniature, drops, len(drops) as layers
    from model_profiles
    join models using (model)
), shuffles as (
    select method, model, shuffle, list(value order by place) as drops
    from (
        select method, model, shuffle, unnest(drops) as value,
            md5_number_lower(concat_ws('/', model, shuffle, unnest(range(layers)))) as place
        from (
            select *, unnest(range(1, permutations + 1)) as shuffle
            from profiles, parameters
            where layers >= minimum_layers
        )
    )
    group by all
), read as materialized (        -- shuffle 0: as it is
    select method, model, shuffle, at_depths(drops, points) as profile
    from (select method, model, 0 as shuffle, drops from profiles union all from shuffles), parameters
), orders as materialized (
    select method, model, miniature, shuffle, standard(profile) as profile
    from read
    join profiles using (method, model)
), compared as (        -- the observed similarity first
    select method, miniature, a.model as model_a, b.model as model_b,
        list(list_inner_product(a.profile, b.profile) order by shuffle) as similarities
    from orders a
    join orders b using (method, miniature, shuffle)
    where a.model < b.model
    group by all
), tested as (
    select c.* exclude (similarities),
        a.family as family_a, a.layers as layers_a, b.family as family_b, b.layers as layers_b,
        case
            when least(a.layers, b.layers) < minimum_layers then 'too few'
            when similarities[1] is null then 'constant'
        end as note,
        if(note is null, similarities[1], null) as similarity,
        if(note is null, len([s for s in similarities if s >= similarity - 1e-9]) / len(similarities), null) as p
    from compared c
    join profiles a on a.method = c.method and a.model = model_a
    join profiles b on b.method = c.method and b.model = model_b, parameters
)
select method, model_a, family_a, layers_a, model_b, family_b, layers_b, miniature, similarity, p, note
from tested
order by method, miniature, model_a, model_b
