-- One row is one strength of noise under one model on one corpus: what share of the sequences still produced verbatim
-- is of structural domains.
--
-- Why this number: if code, maths and markup are held more firmly than prose, they outlast it, and their share among
-- what is still memorized grows with the noise. The share at strength 0, clean_share, is of the same sequences. Text of
-- which the model is certain withstands noise, and code is often that: the entropies of what is left of either class
-- say how far it is certainty that lasts. Memorized text is not compared with other text here, so that there are no
-- pairs: noise_rate has them.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: domains whose class is not known. A domain counts with the memorized sequences that were measured in it,
-- not with its size. Sequences that noise made memorized (`emerged`) count as they were measured: only a part of the
-- unmemorized was. Seeds are pooled.
-- Units: shares in [0, 1]; entropy in nats; noise in standard deviations of RMS(hidden state).
-- Source: arXiv 2603.21658, section 4.4, which reports 74.3 % without noise and 91.1 % at 0.5 for Pythia-12B.
-- Key: model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope, noise
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, noise_layer, noise_scope,
--   noise
--   n                   sequences produced verbatim, times seeds, in domains of known class
--   documents
--   emerged             of n, those not memorized without noise
--   structural          of n, those in structural domains
--   share               structural / n; NULL where n is 0
--   low, high
--   clean_share         share at strength 0
--   structural_entropy  mean completion_entropy without noise of the structural; NULL: there is none
--   free_text_entropy   the same of the others
with documents as (
    select model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope, noise, text,
        count(*) filter (memorized) as n, count(*) filter (memorized and not clean_memorized) as emerged,
        count(*) filter (memorized and "class" = 'structural') as m,
        sum(completion_entropy) filter (memorized and "class" = 'structural') as x,
        count(completion_entropy) filter (memorized and "class" = 'structural') as with_x,
        sum(completion_entropy) filter (memorized and "class" = 'free_text') as y,
        count(completion_entropy) filter (memorized and "class" = 'free_text') as with_y
    from with_text(noise_matches)
    join domains using (corpus, domain)
    where "class" is not null
    group by all
), shares as (
    select model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope, noise,
        sum(n)::bigint as n, count(*) filter (n > 0) as documents, sum(emerged)::bigint as emerged,
        sum(m)::bigint as structural, sum(m) / nullif(sum(n), 0) as share,
        cluster_low(m, n) as low, cluster_high(m, n) as high,
        sum(x) / nullif(sum(with_x), 0) as structural_entropy, sum(y) / nullif(sum(with_y), 0) as free_text_entropy
    from documents
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition,
    noise_layer, noise_scope, noise, n, documents, emerged, structural, share, low, high,
    any_value(share) filter (noise = 0) over one as clean_share, structural_entropy, free_text_entropy
from labelled(shares)
window one as (partition by model, corpus, sample_rule, sample_window, condition, noise_layer, noise_scope)
order by family, params, model, corpus, sample_rule, sample_window, noise_layer, noise_scope, noise
