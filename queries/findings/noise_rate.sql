-- One row is one strength of noise on one group of sequences under one model on one corpus: how many the model
-- produces verbatim when its hidden states are disturbed.
--
-- Why this number: what noise does to a memorized text says how firmly it is held, if compared with what it does to a
-- text that is not. The rate of group 'memorized' is its survival, since at strength 0 it is 1; that of the others is
-- emergence, from 0. The groups are chosen, and so no rate here is one of the corpus. Rates at strength 0 are of the
-- base condition, on the sequences that were measured under noise; score_change pairs each sequence with itself.
-- Groups: see groups_of in views.sql. 'unmemorized' is all of them that were measured: as many as the memorized drawn
-- at random, and those most like the memorized. 'matched' sets beside each memorized sequence the unmemorized one of
-- its domain nearest in completion_entropy; `entropy` says how near the groups have come.
-- Interval: 95 %; of rates document-cluster (see effective_n in macros.sql), of scores by cluster_margin there,
-- which may pass 0 or 1. The change of a rate is rate - 1 or rate - 0, and its interval that of the rate, moved alike.
-- Leaves out: differences between domains and between seeds, which are pooled. Scopes other than the token's own RMS
-- are not decoded: they have no score.
-- Units: rates and scores are shares in [0, 1]; noise in standard deviations of RMS(hidden state); entropy in nats.
-- Source: arXiv 2603.21658, section 4.4.
-- Columns:
--   family         architecture and training line
--   model          the model
--   miniature      trained here, tiny, on a small corpus: not comparable with published models
--   params         its number of parameters (see model_sizes); NULL: not known
--   corpus         corpus of the sequences
--   role           'trained' or 'control'; NULL: not known
--   noise_layer    entry of hidden_states the noise is added to
--   noise_scope    over what RMS is taken
--   group          'memorized', 'unmemorized' or 'matched', by the base condition
--   noise          strength; 0: none
--   seeds          seeds pooled; 0 without noise
--   n              sequences times seeds; one that is matched to several counts as often
--   documents      documents they lie in
--   memorized      of them produced verbatim
--   rate           memorized / n
--   low            lower end of the interval
--   high           upper end of the interval
--   decoded        of n, those with a greedy generation
--   score          mean share of tokens that it matches; NULL where decoded is 0
--   score_low      lower end of its interval; NULL for less than two documents
--   score_high     upper end of its interval
--   score_change   mean change of the score against strength 0
--   change_low     lower end of its interval; NULL for less than two documents
--   change_high    upper end of its interval
--   entropy        mean completion_entropy of the group without noise
with documents as (
    select model, corpus, noise_layer, noise_scope, "group", noise, coalesce(document_id, sequence_id) as document,
        count(distinct noise_seed) as seeds, sum(weight) as n, coalesce(sum(weight) filter (memorized), 0) as m,
        coalesce(sum(weight) filter (score is not null), 0) as decoded, coalesce(sum(weight * score), 0) as score,
        coalesce(sum(weight) filter (score - clean_score is not null), 0) as paired,
        coalesce(sum(weight * (score - clean_score)), 0) as change,
        sum(weight * completion_entropy) as entropy, sum(weight) filter (completion_entropy is not null) as with_entropy
    from noise_matches
    join noise_groups using (model, corpus, domain, sequence_id)
    left join sequences using (sequence_id, corpus, domain)
    group by all
), rates as (
    select model, corpus, noise_layer, noise_scope, "group", noise,
        max(seeds) as seeds, sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as memorized,
        sum(m) / sum(n) as rate, cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(decoded)::bigint as decoded, sum(score) / nullif(sum(decoded), 0) as score,
        cluster_margin(score, decoded) as margin,
        sum(change) / nullif(sum(paired), 0) as score_change, cluster_margin(change, paired) as change_margin,
        sum(entropy) / sum(with_entropy) as entropy
    from documents
    group by all
)
select family, model, miniature, params, corpus, role, noise_layer, noise_scope, "group", noise,
    seeds, n, documents, memorized, rate, low, high, decoded,
    score, score - margin as score_low, score + margin as score_high,
    score_change, score_change - change_margin as change_low, score_change + change_margin as change_high, entropy
from rates
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, noise_layer, noise_scope, "group", noise
