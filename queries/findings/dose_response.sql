-- One row is one number of exposures under one model on one corpus: the share of sequences memorized after so many.
--
-- Why this number: repetition is what drives memorization most, and counting what training showed is better than
-- counting duplicates in a corpus that a model may have passed over. Every level stands for itself; nothing is put
-- into buckets. Text of a control corpus has 0 exposures: its rows say what can be guessed.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: models for which no exposures are recorded; that a text may stand in several documents, whose exposures
-- are not added up; when in training the exposures came; differences between domains, which are pooled.
-- Units: rate, low and high are shares in [0, 1]; exposures count showings of the sampled window.
-- Source: Carlini et al. 2023, arXiv 2202.07646, section 4.2; Kandpal et al. 2022, arXiv 2202.06539.
-- Columns:
--   family        architecture and training line
--   model         the model
--   miniature     trained here, tiny, on a small corpus: not comparable with published models
--   params        its number of parameters (see model_sizes); NULL: not known
--   corpus        corpus of the sequences
--   role          'trained' or 'control'; NULL: not known
--   exposures     times training showed the document to the model; NULL: not recorded
--   n             sequences
--   documents     documents they lie in
--   memorized     sequences produced verbatim
--   rate          memorized / n
--   low           lower end of the interval
--   high          upper end of the interval
with documents as (
    select model, corpus, role, coalesce(document_id, sequence_id) as document,
        coalesce(e.exposures, if(role = 'control', 0, null)) as exposures,
        count(*) as n, count(*) filter (memorized) as m
    from matches
    left join sequences using (sequence_id, corpus, domain)
    left join model_corpora using (model, corpus)
    left join exposures e using (model, document_id)
    where model in (select model from exposures)
    group by all
)
select family, model, miniature, params, corpus, role, exposures,
    sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as memorized,
    sum(m) / sum(n) as rate, cluster_low(m, n) as low, cluster_high(m, n) as high
from documents
join model_sizes using (model)
group by family, model, miniature, params, corpus, role, exposures
order by family, params, model, corpus, exposures
