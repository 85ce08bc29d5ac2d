-- One row is one pair of models under one method: how alike their layer profiles are.
--
-- Why this number: two models that memorize in the same way should depend on heads at the same relative depths.
-- Similarity is Pearson's correlation of the two profiles at `points` relative depths (see layer_profile): it does
-- not see the scale, which differs with the number of heads, but keeps how far one depth outweighs another, which
-- ranks would lose. A model's profile is the mean over the corpora it was trained on, so that models of different
-- corpora can be compared, each on its own (see model_profiles in views/heads.sql).
-- Two nulls, which answer two questions:
--   shuffled   Does the order of layers matter at all? The layers of both models are shuffled before they are read,
--              `permutations` times, by an MD5 of the model, the layer and the number of the shuffle, so that the
--              answer is always the same. Neighbouring layers resemble each other, which shuffles undo: any two smooth
--              profiles agree more often than p says.
--   shifted    Do they agree in where along the depth? The layers of both models are shifted in a circle, the last
--              before the first, by every number of layers: all layers_a * layers_b ways, the observed among them. Each
--              profile keeps its smoothness but for the seam. Shifting both alike changes little, so that p_shifted is
--              seldom far below one over the layers: models of few layers cannot be told apart.
-- Both p are shares of orders, the observed among them, that are at least as alike. Simulated: of independent profiles
-- of 24 to 64 layers, each layer 0.95 of the one before plus noise, 12 to 18 % have p <= 0.05 and 5 to 9 % have
-- p_shifted <= 0.05; where layers are independent, both have 5 % (benchmarks/profile_nulls.py).
-- Many tests: all pairs of a method, sample and kind of model are one family (see adjusted_p in macros.sql).
-- Leaves out: whether a family is more alike than others (family_similarity), which leans on neither null. Profiles
-- are taken as they are, without the noise of their drops.
-- Units: similarity in [-1, 1]; p in (0, 1].
-- Source: arXiv 2603.21658, section 4.8; Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39 (p counts the
-- observed).
-- Key: method, sample_rule, sample_window, model_a, condition_a, model_b, condition_b
-- Columns:
--   method, sample_rule, sample_window, model_a
--   family_a            its training line
--   condition_a         under which it was measured: see `conditions`
--   layers_a            its layers
--   model_b
--   family_b            its training line
--   condition_b         under which it was measured
--   layers_b            its layers
--   miniature           both are trained here, tiny: such models are paired with each other only
--   similarity          correlation of the profiles; NULL: see note
--   p                   probability of one as large, were layers in random order
--   p_adjusted
--   p_shifted           probability of one as large, were profiles shifted along the depth
--   p_shifted_adjusted  p_shifted for being one of `tests`
--   tests               pairs that have a similarity
--   note                'too few' (layers), 'constant' (a profile), or NULL
with parameters as (select
    11 as points,           -- depths at which profiles are read, at least 2
    999 as permutations,    -- shuffles of the layers
    4 as minimum_layers,    -- below which a profile is not compared
    true as known           -- of sequences that the model memorized; false: of the others that were measured
), profiles as materialized (       -- those of one `pool` are compared: one method, sample and kind of model
    select row_number() over (order by model, pool)::int as profile, *
    from (
        select *, len(drops) as layers,
            dense_rank() over (order by method, sample_rule, sample_window, miniature)::int as pool
        from model_profiles
        join models using (model)
        where known = (select known from parameters)
    )
), shuffles as materialized (       -- shuffle 0: as it is
    select profile, pool, shuffle, if(shuffle = 0, drops, list_select(drops, list_grade_up([
        md5_number_lower(concat_ws('/', model, shuffle, layer)) for layer in range(layers)]))) as drops
    from (select *, unnest(range(permutations + 1)) as shuffle from profiles, parameters)
    where shuffle = 0 or layers >= minimum_layers
), shifts as materialized (
    select profile, shift, list_concat(drops[shift + 1:], drops[1:shift]) as drops
    from (select *, unnest(range(layers)) as shift from profiles), parameters
    where layers >= minimum_layers
), read as materialized (       -- step by step: within one expression macros would do each step over and over
    select profile, pool, shuffle, null as shift, at_depths(drops, points) as depths from shuffles, parameters
    union all
    select profile, null, null, shift, at_depths(drops, points) from shifts, parameters
), shuffled as materialized (
    select profile, pool, shuffle, standard(depths) as depths from read where shuffle is not null
), shifted as materialized (
    select profile, standard(depths) as depths from read where shift is not null
), pairs as materialized (
    select p.pool, p.profile as a, q.profile as b, list_inner_product(s.depths, t.depths) as correlation,
        case
            when least(p.layers, q.layers) < minimum_layers then 'too few'
            when correlation is null then 'constant'
        end as note,
        if(note is null, correlation, null) as similarity
    from profiles p
    join profiles q using (pool)
    join shuffled s on s.profile = p.profile and s.shuffle = 0
    join shuffled t on t.profile = q.profile and t.shuffle = 0, parameters
    where p.model < q.model
), by_shuffles as (
    select a, b, count(*) filter (list_inner_product(s.depths, t.depths) >= similarity - 1e-9) / count(*) as p
    from shuffled s
    join shuffled t using (pool, shuffle)
    join pairs on s.profile = a and t.profile = b
    where similarity is not null
    group by a, b
), by_shifts as (
    select a, b, count(*) filter (list_inner_product(s.depths, t.depths) >= similarity - 1e-9) / count(*) as p_shifted
    from pairs
    join shifted s on s.profile = a
    join shifted t on t.profile = b
    where similarity is not null
    group by a, b
), stepped as (
    select *, adjusting(p, pool) as step, adjusting(p_shifted, pool) as step_shifted
    from pairs
    left join by_shuffles using (a, b)
    left join by_shifts using (a, b)
), tested as (
    select *, adjusted_p(p, step, pool) as p_adjusted,
        adjusted_p(p_shifted, step_shifted, pool) as p_shifted_adjusted,
        count(similarity) over (partition by pool) as tests
    from stepped
)
select p.method, p.sample_rule, p.sample_window, p.model as model_a, p.family as family_a,
    p.condition as condition_a, p.layers as layers_a, q.model as model_b, q.family as family_b,
    q.condition as condition_b, q.layers as layers_b, p.miniature, similarity, tested.p, p_adjusted, p_shifted,
    p_shifted_adjusted, tests, note
from tested
join profiles p on p.profile = a
join profiles q on q.profile = b
order by p.method, p.sample_rule, p.sample_window, p.miniature, model_a, model_b
