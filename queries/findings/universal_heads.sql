-- One row is one model on one corpus under one method: the heads that are important in every domain.
--
-- Why this number: a head that matters for any memorized text, code or prose, is part of a general mechanism.
-- Important in a domain are the heads with the largest mean drop of log-probability, `share` of all the model's
-- heads and at least one (see head_importance). How many are important everywhere falls with every domain that is
-- asked, and chance alone leaves some.
-- Two nulls, which answer two questions, both exact (see head_overlap):
--   any head    Is there anything that makes the domains' sets alike? Each is drawn at random from all the model's
--               heads: on average heads * product over domains of (important / heads) are in all.
--   by layer    Are there heads that matter everywhere, beyond lying in a layer that does? Each set is drawn at random
--               within each layer, as many heads as the domain has there: the sum over layers of the same product.
-- Only the second speaks of heads. p and p_by_layer are the chances of as many universal heads or more.
-- Ceiling: measured ranks are noisy, which leaves fewer heads in all sets. half_jaccard is what two halves of ONE
-- domain's sample share (see head_reliability), the geometric mean over domains: where it is far below 1, so are fewer
-- heads universal than there would be in larger samples.
-- Leaves out: heads that screening dropped in some domain; how near a head came to the threshold.
-- Units: counts of heads; shares of all the model's heads in [0, 1].
-- Source: arXiv 2603.21658, section 4.7.
-- Key: model, corpus, sample_rule, sample_window, condition, method
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method
--   domains                  domains of the corpus with a ranking of heads
--   heads
--   universal                heads important in all domains; NULL: see note
--   universal_share          universal / heads
--   expected                 mean number of such heads, were the sets drawn at random from all heads
--   expected_share           expected / heads
--   p                        probability of as many or more, were they so drawn
--   expected_by_layer        mean number of such heads, were the sets drawn at random within each layer
--   expected_by_layer_share  expected_by_layer / heads
--   p_by_layer               probability of as many or more, were they so drawn
--   half_jaccard
--   which                    the heads: L2H5 is head 5 of layer 2, both from 0
--   note                     'one domain', or NULL
with parameters as (select
    0.2 as share,                   -- share of a model's heads that count as important
    true as known,                  -- of sequences that the model memorized; false: of the others that were measured
    20 as splits,                   -- ways to halve a domain's documents
    10 as minimum_documents,        -- below which they are not halved
    5 as minimum_heads              -- below which heads are not ranked
), ranked as (      -- the domains in which any head has a rank; `ranking` stands for all but the domain, NULL or not
    select *, dense_rank() over (order by model, corpus, sample_rule, sample_window, condition, method) as ranking,
        is_important(place, heads, share) as important
    from head_drops
    join parameters using (known)
    qualify bool_or(important) over (
        partition by model, corpus, sample_rule, sample_window, condition, method, domain)
), sizes as (
    select ranking, domain, layer, max(heads) as heads, count(*) as in_layer, count(*) filter (important) as important
    from ranked
    group by all
), anywhere as (
    select ranking, count(*) as domains, max(heads) as heads,
        if(count(*) > 1, all_common(max(heads), list(important order by domain)), null) as anywhere
    from (select ranking, domain, max(heads) as heads, sum(important)::bigint as important from sizes group by all)
    group by ranking
), within as (      -- a layer that some domain does not know has no head in common
    select ranking, total_chances(list(chances order by layer)) as by_layer
    from (
        select ranking, layer, any_value(domains) as asked,
            if(count(*) = asked, all_common(max(in_layer), list(important order by domain)), [1.0]) as chances
        from sizes
        join anywhere using (ranking)
        where domains > 1
        group by all
    )
    group by ranking
), universal as (
    select ranking, count(*) as universal,
        string_agg('L' || layer || 'H' || head, ' ' order by layer, head) as which
    from (
        select ranking, layer, head, count(*) as met
        from ranked
        where important
        group by all
    )
    join anywhere using (ranking)
    where met = domains and domains > 1
    group by ranking
), halves as (
    select model, corpus, sample_rule, sample_window, condition, method,
        if(count(half_jaccard) = count(*), product(half_jaccard) ** (1 / count(*)), null) as half_jaccard
    from split_halves(
        (select share from parameters), (select splits from parameters),
        (select minimum_documents from parameters), (select minimum_heads from parameters),
        (select known from parameters))
    group by all
), counted as (
    select model, corpus, sample_rule, sample_window, condition, method, domains, anywhere.heads, anywhere, by_layer,
        if(domains > 1, coalesce(universal, 0), null) as universal, which
    from (select distinct ranking, model, corpus, sample_rule, sample_window, condition, method from ranked)
    join anywhere using (ranking)
    left join within using (ranking)
    left join universal using (ranking)
), beside as (
    select c.*, half_jaccard
    from counted c
    left join halves h
        on h.model = c.model and h.corpus = c.corpus and h.condition = c.condition and h.method = c.method
        and h.sample_rule is not distinct from c.sample_rule and h.sample_window is not distinct from c.sample_window
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, method, domains, heads,
    universal, universal / heads as universal_share,
    mean_of(anywhere) as expected, expected / heads as expected_share, chance_of(anywhere, universal) as p,
    mean_of(by_layer) as expected_by_layer, expected_by_layer / heads as expected_by_layer_share,
    chance_of(by_layer, universal) as p_by_layer, half_jaccard, which, if(domains > 1, null, 'one domain') as note
from labelled(beside)
order by family, params, model, corpus, sample_rule, sample_window, method
