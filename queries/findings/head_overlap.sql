-- One row is one pair of domains of one model under one method: how far the same heads are important in both.
--
-- Why this number: if memorization used the same machinery for any text, the important heads of two domains would be
-- the same; if each domain had its own, they would agree no more than sets drawn at random. Important are the heads
-- with the largest mean drop of log-probability, `share` of all the model's heads and at least one (see
-- head_importance).
-- Two nulls, which answer two questions, both exact:
--   any head    Is there anything that makes the two sets alike? Both are drawn at random from all the model's heads,
--               each of its size: what they have in common is hypergeometric. 0.2 * 0.2 / (2 * 0.2 - 0.2 * 0.2) =
--               0.111, which is often given, is its mean Jaccard index for many heads. Layers differ in how much their
--               heads matter, for any text: sets that lie in the same layers, and are random within them, fail it.
--   by layer    Are they the same heads, beyond lying in the same layers? Both are drawn at random within each layer,
--               as many as the set has there: hypergeometric in each, the chances of the total by convolution. Layers
--               of few heads leave little to chance, so that p cannot be small, and of one head nothing: p is 1.
-- Only the second speaks of heads. expected_jaccard and expected_jaccard_by_layer are mean Jaccard indices, p and
-- p_by_layer the chances of as many in common or more.
-- Many tests: a model has one for each pair of domains. Adjusted p are for picking among all pairs of the model on the
-- corpus (Holm up to 10 pairs, Benjamini and Hochberg for more: see adjusted_p in macros.sql).
-- Ceiling: measured ranks are noisy, which lowers the overlap. half_jaccard is what two halves of ONE domain's sample
-- share (see head_reliability), the geometric mean of the two domains'. Halves are noisier than the whole: domains that
-- need the very same heads share at least so much, and an overlap that is clearly below it is not all noise.
-- Leaves out: heads that screening dropped are in no set.
-- Units: shares in [0, 1]; counts of heads.
-- Source: arXiv 2603.21658, section 4.7; Jaccard 1901. It compares with the first null alone.
-- Key: model, corpus, sample_rule, sample_window, condition, method, domain_a, domain_b
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method
--   domain_a                   first domain of the pair, in alphabetical order
--   domain_b                   second domain
--   heads
--   important_a                important heads in the first domain
--   important_b                important heads in the second
--   in_both                    important in both
--   jaccard                    in_both / (important_a + important_b - in_both)
--   expected_jaccard           its mean, were the sets drawn at random from all heads
--   p                          probability of as many in common or more, were they so drawn
--   p_adjusted
--   expected_jaccard_by_layer  mean of jaccard, were the sets drawn at random within each layer
--   p_by_layer                 probability of as many in common or more, were they so drawn
--   p_by_layer_adjusted        p_by_layer for being one of `tests`
--   tests                      pairs of domains of the model on the corpus
--   half_jaccard
with parameters as (select
    0.2 as share,                   -- share of a model's heads that count as important
    20 as splits,                   -- ways to halve a domain's documents
    10 as minimum_documents,        -- below which they are not halved
    5 as minimum_heads,             -- below which heads are not ranked
    true as known                   -- of sequences that the model memorized; false: of the others that were measured
), layers as (
    select model, corpus, sample_rule, sample_window, condition, method, domain, heads, layer, count(*) as n,
        coalesce(list((layer, head)) filter (is_important(place, heads, share)), []) as important
    from head_drops
    join parameters using (known)
    group by all
), halves as (
    from split_halves(
        (select share from parameters), (select splits from parameters),
        (select minimum_documents from parameters), (select minimum_heads from parameters),
        (select known from parameters))
), domains as (
    select model, corpus, sample_rule, sample_window, condition, method, domain, any_value(heads) as heads,
        flatten(list(important)) as important, list({layer: layer, n: n} order by layer) as layers,
        map(list(layer), list(len(important))) as in_layer, null as half_jaccard
    from layers
    group by all
    having len(important) > 0
    union all by name
    select model, corpus, sample_rule, sample_window, condition, method, domain, half_jaccard from halves
), sets as (        -- `ranking` stands for the model, the corpus, the sample and the method, NULL or not
    select model, corpus, sample_rule, sample_window, condition, method, domain,
        dense_rank() over (order by model, corpus, sample_rule, sample_window, condition, method) as ranking,
        any_value(heads) as heads, any_value(important) as important, any_value(layers) as layers,
        any_value(in_layer) as in_layer, any_value(half_jaccard) as half_jaccard
    from domains
    group by model, corpus, sample_rule, sample_window, condition, method, domain
), pairs as (
    select a.* exclude (domain, important, layers, in_layer, half_jaccard), a.domain as domain_a, b.domain as domain_b,
        len(a.important) as important_a, len(b.important) as important_b,
        len(list_intersect(a.important, b.important)) as in_both,
        common_chances(a.heads, important_a, important_b) as anywhere,
        total_chances([
            common_chances(l.n, a.in_layer[l.layer], coalesce(b.in_layer[l.layer], 0)) for l in a.layers
        ]) as by_layer,
        sqrt(a.half_jaccard * b.half_jaccard) as half_jaccard
    from sets a
    join sets b using (ranking)
    where a.domain < b.domain
), tested as (
    select *, chance_of(anywhere, in_both) as p, chance_of(by_layer, in_both) as p_by_layer
    from pairs
), stepped as (
    select *, adjusting(p, ranking) as step, adjusting(p_by_layer, ranking) as step_by_layer
    from tested
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method, domain_a,
    domain_b, heads, important_a, important_b, in_both,
    in_both / (important_a + important_b - in_both) as jaccard,
    mean_jaccard(anywhere, important_a, important_b) as expected_jaccard,
    p, adjusted_p(p, step, ranking) as p_adjusted,
    mean_jaccard(by_layer, important_a, important_b) as expected_jaccard_by_layer,
    p_by_layer, adjusted_p(p_by_layer, step_by_layer, ranking) as p_by_layer_adjusted,
    count(*) over (partition by ranking) as tests, half_jaccard
from labelled(stepped)
order by family, params, model, corpus, sample_rule, sample_window, method, domain_a, domain_b
