-- One row is one strength of noise on one group of sequences under one model on one corpus: how many the model
-- produces verbatim when its hidden states are disturbed.
--
-- Why this number: what noise does to a memorized text says how firmly it is held, if compared with what it does to a
-- text that is not. The rate of group 'memorized' is its survival, since at strength 0 it is 1; that of the others is
-- emergence, from 0. The groups are chosen, and so no rate here is one of the corpus. Rates at strength 0 are of the
-- base condition, on the sequences that were measured under noise; score_change pairs each sequence with itself.
-- Groups: see groups_of in views/groups.sql. 'unmemorized' is all of them that were measured: as many as the memorized
-- drawn at random, and those most like the memorized. Text of which the model is certain withstands noise, memorized or
-- not: `rate_difference` and `change_difference`, of pairs of like completion entropy under the same noise, tell memory
-- from certainty.
-- Interval: 95 %, over documents, by macros.sql: of rates effective_n, of their differences rate_difference_low, of
-- scores cluster_margin and of their differences difference_margin, which may pass the ends of the scale. The change of
-- a rate is rate - 1 or rate - 0, and its interval that of the rate, moved alike.
-- Leaves out: differences between domains and between seeds, which are pooled. Scopes other than the token's own RMS
-- are not decoded: they have no score. Of change_difference: a matched sequence has a lower score without noise than a
-- memorized one, and so less to lose.
-- Units: rates and scores are shares in [0, 1]; noise in standard deviations of RMS(hidden state); entropy in nats.
-- Source: arXiv 2603.21658, section 4.4.
-- Key: model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope, group, noise
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, noise_layer, noise_scope,
--   group, noise
--   seeds              seeds pooled; 0 without noise
--   n                  sequences times seeds
--   documents
--   memorized          of them produced verbatim
--   rate, low, high
--   decoded            of n, those with a greedy generation
--   score              mean share of tokens that it matches; NULL where decoded is 0
--   score_low          lower end of its interval; NULL: one document, or all alike, as at 0
--   score_high
--   score_change       mean change of the score against strength 0
--   change_low         lower end of its interval; NULL: one document, or all alike, as at 0
--   change_high
--   entropy            mean completion_entropy of the group without noise
--   pairs              pairs, times seeds, of which both were measured; NULL but for the memorized
--   paired_share       pairs / n: of these the differences speak; most memorized text is more certain than any other
--   rate_difference    of the pairs, rate of the memorized less that of the matched; NULL: see note
--   rate_difference_low, rate_difference_high
--   change_difference  the same of score_change, where both were decoded; NULL: too few
--   change_difference_low, change_difference_high, note
with parameters as (select
    5 as minimum_documents      -- of either side of the pairs, below which no difference is given
), groups as materialized (
    from noise_groups
), lines as (
    select distinct line, model, corpus, sample_rule, sample_window, condition from groups
), noisy as (
    select line, noise_layer, noise_scope, "group", noise, noise_seed, text, memorized, score,
        score - clean_score as change, entropy,
        pair is not null and count(*) over pairs = 2 as paired,
        pair is not null and count(change) over pairs = 2 as both_changed
    from (select * exclude (sample_rule, sample_window, condition) from noise_matches)
    join groups using (model, corpus, domain, sequence_id)
    window pairs as (partition by line, noise_layer, noise_scope, noise, noise_seed, pair)
), documents as (
    select line, noise_layer, noise_scope, "group", noise, text,
        count(distinct noise_seed) as seeds, count(*) as n, count(*) filter (memorized) as m,
        count(score) as decoded, coalesce(sum(score), 0) as score,
        count(change) as changed, coalesce(sum(change), 0) as change,
        sum(entropy) as entropy, count(entropy) as with_entropy
    from noisy
    group by all
), rates as (
    select line, noise_layer, noise_scope, "group", noise,
        max(seeds) as seeds, sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as memorized,
        sum(m) / sum(n) as rate, cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(decoded)::bigint as decoded, sum(score) / nullif(sum(decoded), 0) as score,
        cluster_margin(score, decoded) as margin,
        sum(change) / nullif(sum(changed), 0) as score_change, cluster_margin(change, changed) as change_margin,
        sum(entropy) / nullif(sum(with_entropy), 0) as entropy
    from documents
    group by all
), sides as (
    select line, noise_layer, noise_scope, noise, text,
        count(*) filter (paired and "group" = 'memorized') as n,
        count(*) filter (paired and "group" = 'memorized' and memorized) as x,
        count(*) filter (paired and "group" = 'matched') as m,
        count(*) filter (paired and "group" = 'matched' and memorized) as y,
        count(*) filter (both_changed and "group" = 'memorized') as change_n,
        sum(if(both_changed and "group" = 'memorized', change, 0)) as change_x,
        count(*) filter (both_changed and "group" = 'matched') as change_m,
        sum(if(both_changed and "group" = 'matched', change, 0)) as change_y
    from noisy
    where paired
    group by all
), differences as (
    select line, noise_layer, noise_scope, noise, 'memorized' as "group", sum(n)::bigint as found,
        fewer_documents(n, m) >= any_value(minimum_documents) as enough,
        if(enough, sum(x) / sum(n) - sum(y) / sum(m), null) as rate_difference,
        if(enough, rate_difference_low(x, n, y, m), null) as rate_difference_low,
        if(enough, rate_difference_high(x, n, y, m), null) as rate_difference_high,
        if(fewer_documents(change_n, change_m) >= any_value(minimum_documents),
            sum(change_x) / sum(change_n) - sum(change_y) / sum(change_m), null) as change_difference,
        difference_margin(change_x, change_n, change_y, change_m) as change_difference_margin
    from sides, parameters
    group by line, noise_layer, noise_scope, noise
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    noise_layer, noise_scope, "group", noise, seeds, n, documents, memorized, rate, low, high, decoded,
    score, score - margin as score_low, score + margin as score_high,
    score_change, score_change - change_margin as change_low, score_change + change_margin as change_high, entropy,
    pairs_found("group", found) as pairs, pairs / n as paired_share,
    rate_difference, rate_difference_low, rate_difference_high,
    change_difference, change_difference - change_difference_margin as change_difference_low,
    change_difference + change_difference_margin as change_difference_high, pair_note("group", found, enough) as note
from rates
left join differences using (line, noise_layer, noise_scope, noise, "group")
join labelled(lines) using (line)
order by family, params, model, corpus, sample_rule, sample_window, noise_layer, noise_scope, "group", noise
