-- One row is one dose, in buckets of powers of two, under one model on one corpus: the share of sequences memorized
-- after so many showings, or with so many duplicates.
--
-- Why this number: repetition is what drives memorization most. 'exposures' counts what training showed, where that is
-- recorded. 'duplicates' counts how often the window stands in a corpus that the model trained on (span 'window' of
-- ngram_counts), which is all that is known of a model trained elsewhere. Where both are there, mean_exposures beside
-- mean_dose says how far counted duplicates stand for what was shown: what they count more is the same words in other
-- documents. Text of a control corpus has 0 exposures; its duplicates are counted like those of any other.
-- Exposures are recorded by document, and are those of the windows that were sampled when the model was trained. Of a
-- window that was cut later, at another anchor or around it, none is recorded, unless the document was never shown.
-- Buckets: 0, then [1, 2), [2, 4), [4, 8), ...: recorded doses that are powers of two stand each for itself.
-- Interval: 95 %, document-cluster (see effective_n in macros.sql).
-- Leaves out: when in training the text came; duplicates that differ in a token; sequences that were not counted;
-- differences between domains, which are pooled. A sequence of the counted corpus counts itself: it has 1 duplicate at
-- least. Counts of different corpora, tokenizers or completeness are never pooled.
-- Units: rate, low and high are shares in [0, 1]; doses count showings of the sampled window, or occurrences of it.
-- Source: Carlini et al. 2023, arXiv 2202.07646, section 4.2; Kandpal et al. 2022, arXiv 2202.06539.
-- Key: model, corpus, sample_rule, sample_window, condition, dose, counted_corpus, complete, counted_tokenizer,
--   at_least, below
-- Columns:
--   family, model, miniature, params, corpus, role, sample_rule, sample_window, condition
--   dose               'exposures' or 'duplicates'
--   counted_corpus     the corpus in which duplicates were counted; NULL for exposures
--   counted_tokenizer  tokenizer under which they were counted, or 'bytes'; NULL for exposures
--   complete           all of the counted corpus was read; NULL for exposures
--   own                counted_tokenizer is the sequences' own; NULL for exposures
--   at_least           lower end of the bucket; NULL: exposures not recorded
--   below              upper end of the bucket
--   n, documents, memorized, rate, low, high
--   mean_dose          mean dose of the n sequences
--   mean_exposures     mean of their recorded exposures; NULL: none recorded
with works as (
    select cell, max(finished_at) as finished_at from cells where outcome = 'done' group by cell
), measured as (
    select model, corpus, domain, m.sample_rule, m.sample_window, condition, sequence_id, text, memorized,
        of_model.model is not null as recorded,
        coalesce(
            if(exposures > 0 and cut.finished_at > trained.finished_at, null, exposures),
            if(recorded and role = 'control', 0, null)) as exposures
    from with_text(matches) m
    left join sequences using (sequence_id, corpus, domain)
    left join model_corpora using (model, corpus)
    left join (select distinct model from exposures) of_model using (model)
    left join exposures using (model, document_id)
    left join works cut on cut.cell = sequences.cell
    left join works trained on trained.cell = exposures.cell
), doses as (
    select model, corpus, sample_rule, sample_window, condition, text, memorized, exposures, 'exposures' as dose,
        null as counted_corpus, null as counted_tokenizer, null as complete, null as own, exposures as times
    from measured
    where recorded
    union all
    select model, m.corpus, sample_rule, sample_window, condition, text, memorized, exposures, 'duplicates',
        counted_corpus, counted_tokenizer, complete, tokenizer = counted_tokenizer, counts[1]
    from measured m
    join ngram_counts c using (sequence_id, corpus, domain)
    join model_corpora t using (model)
    where span = 'window' and t.corpus = counted_corpus and t.role = 'trained'
), documents as (
    select model, corpus, sample_rule, sample_window, condition, dose, counted_corpus, counted_tokenizer, complete, own,
        doubling(times) as at_least, text, count(*) as n, count(*) filter (memorized) as m,
        sum(times) as times,
        count(exposures) as recorded, sum(exposures) as exposures
    from doses
    group by all
)
select family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, dose, counted_corpus,
    counted_tokenizer, complete, own, at_least, if(at_least = 0, 1, 2 * at_least) as below,
    sum(n)::bigint as n, count(*) as documents, sum(m)::bigint as memorized,
    sum(m) / sum(n) as rate, cluster_low(m, n) as low, cluster_high(m, n) as high,
    sum(times) / sum(n) as mean_dose, sum(exposures) / nullif(sum(recorded), 0) as mean_exposures
from labelled(documents)
group by family, model, miniature, params, corpus, role, sample_rule, sample_window, condition, dose, counted_corpus,
    counted_tokenizer, complete, own, at_least
order by family, params, model, corpus, sample_rule, sample_window, dose desc, counted_corpus, counted_tokenizer,
    complete, at_least
