-- Sequences under noise, beside the same without.

-- One row is one model and one condition that differs from its base condition in noise alone, or the base itself
-- (noise 0, and no seed, layer or scope). None where a condition with noise is looked at in its place.
create or replace view noise_conditions as
    select model, c.condition, c.noise, c.noise_seed, c.noise_layer, c.noise_scope
    from models m
    join stored.conditions b on b.condition = m.base_condition and coalesce(b.noise, 0) = 0
    join stored.conditions c
        on c.dtype is not distinct from b.dtype and c.attention is not distinct from b.attention and c.bos = b.bos
        and c.no_eos is not distinct from b.no_eos and (c.noise > 0 or c.condition = b.condition);

-- One row is one sequence under one noise condition of `noise_conditions`, or, at noise 0 and without a seed, under the
-- base condition, once for each layer and scope that it was measured under. clean_memorized, clean_score and
-- completion_entropy are of the base condition.
create or replace view noise_matches as
    with noisy as (
        select model, corpus, domain, sequence_id, noise, noise_seed, noise_layer, noise_scope, memorized, score
        from matches_all
        join noise_conditions using (model, condition)
        where noise > 0
    ), clean as (       -- of what there is of this kind: of most lakes, little
        select model, corpus, domain, sequence_id, sample_rule, sample_window, condition, memorized, score,
            completion_entropy
        from matches
        semi join (select distinct model, corpus, domain from noisy) using (model, corpus, domain)
    ), strengths as (
        from noisy
        union all
        select model, corpus, domain, sequence_id, 0.0, null, noise_layer, noise_scope, clean.memorized, clean.score
        from (select distinct model, corpus, domain, sequence_id, noise_layer, noise_scope from noisy)
        join clean using (model, corpus, domain, sequence_id)
    )
    select strengths.*, clean.sample_rule, clean.sample_window, clean.condition, clean.memorized as clean_memorized,
        clean.score as clean_score, clean.completion_entropy
    from strengths
    join clean using (model, corpus, domain, sequence_id);
