-- One row is one pair of domains of one model under one method: how far the same heads are important in both.
--
-- Why this number: if memorization used the same machinery for any text, the important heads of two domains would be
-- the same; if each domain had its own, they would agree no more than sets drawn at random. Important are the heads
-- with the largest mean drop of log-probability, `share` of all the model's heads and at least one (see
-- head_importance).
-- Null: both sets drawn at random from the model's heads, each of its size. What they have in common is then
-- hypergeometric; expected_jaccard is the mean of the Jaccard index and p the chance of as many in common or more,
-- both exact. 0.2 * 0.2 / (2 * 0.2 - 0.2 * 0.2) = 0.111, which is often given, is the limit for many heads.
-- Leaves out: that measured ranks are noisy, which lowers the overlap: head_reliability says how far two halves of
-- one domain agree, which is the most to be expected of two domains. Heads that screening dropped are in no set.
-- Units: shares in [0, 1]; counts of heads.
-- Source: arXiv 2603.21658, section 4.7; Jaccard 1901.
-- Columns:
--   family             architecture and training line
--   model              the model
--   miniature          trained here, tiny, on a small corpus: not comparable with published models
--   params             its number of parameters (see model_sizes); NULL: not known
--   corpus             corpus of the sequences
--   role               'trained' or 'control'; NULL: not known
--   method             what stands in for a head: see head_importance
--   domain_a           first domain of the pair, in alphabetical order
--   domain_b           second domain
--   heads              heads of the model
--   important_a        important heads in the first domain
--   important_b        important heads in the second
--   in_both            important in both
--   jaccard            in_both / (important_a + important_b - in_both)
--   expected_jaccard   its mean, were the sets drawn at random
--   p                  probability of as many in common or more, were the sets drawn at random
with parameters as (select
    0.2 as share        -- share of a model's heads that count as important
), sets as (
    select model, corpus, method, domain, heads, list((layer, head)) as important
    from head_drops, parameters
    where place <= greatest(1, round(share * heads))
    group by all
), pairs as (
    select model, corpus, method, a.domain as domain_a, b.domain as domain_b, a.heads,
        len(a.important) as important_a, len(b.important) as important_b,
        len(list_intersect(a.important, b.important)) as in_both
    from sets a
    join sets b using (model, corpus, method)
    where a.domain < b.domain
)
select family, model, miniature, params, corpus, role, method, domain_a, domain_b, heads, important_a, important_b,
    in_both, in_both / (important_a + important_b - in_both) as jaccard,
    expected_jaccard(heads, important_a, important_b) as expected_jaccard,
    overlap_p(heads, important_a, important_b, in_both) as p
from pairs
join model_sizes using (model)
left join model_corpora using (model, corpus)
order by family, params, model, corpus, method, domain_a, domain_b
